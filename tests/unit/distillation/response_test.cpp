#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "pare/distillation/cross_entropy.hpp"
#include "pare/distillation/dist.hpp"
#include "pare/distillation/dkd.hpp"
#include "pare/distillation/jensen_shannon.hpp"
#include "pare/distillation/kd.hpp"
#include "pare/distillation/kl.hpp"
#include "pare/distillation/logit_mse.hpp"
#include "pare/distillation/logit_standardization.hpp"
#include "pare/distillation/reverse_kl.hpp"
#include "pare/distillation/skew_kl.hpp"
#include "pare/distillation/soft_cross_entropy.hpp"
#include "pare/distillation/soft_targets.hpp"
#include "pare/distillation/symmetric_kl.hpp"
#include "pare/distillation/top_k.hpp"
#include "pare/distillation/total_variation.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::DistillationOracle;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

/// What a loss between logits is computed from.
template <class T>
struct ResponseInputs {
  Matrix<T> student{}, teacher{};
  std::vector<Index> labels{};
  Vector<double> weights{}, temperatures{};  // of samples
};

/// A loss as the test calls it, and the case of the oracle with its answer.
template <class T>
struct ResponseCase {
  const char* name;
  std::function<double(const ResponseInputs<T>&, MatrixView<T>)> loss;
};

template <class T>
double teacher_entropy(const ResponseInputs<T>& x, const SampleOptions& common) {
  const ResponseOptions response{.common = common};
  return soft_cross_entropy_loss<T>(x.student, x.teacher, response) -
         kl_loss<T>(x.student, x.teacher, response);
}

template <class T>
double standardized_kl(const ResponseInputs<T>& x, double temperature, MatrixView<T> gradient) {
  const StandardizedLogits<T> student(x.student), teacher(x.teacher);
  const double loss =
      kl_loss<T>(student.values(), teacher.values(), {.temperature = temperature}, gradient);
  if (gradient.data() != nullptr) student.pull_back(gradient, gradient);
  return loss;
}

template <class T>
std::vector<ResponseCase<T>> response_cases() {
  using X = ResponseInputs<T>;
  using G = MatrixView<T>;
  const auto mean_of_elements = [](const X& x) {
    return SampleOptions{.sample_weights = x.weights,
                         .divisor = static_cast<double>(x.student.size())};
  };
  const auto labelled = [](const X& x) { return SampleOptions{.sample_weights = x.weights}; };
  const auto top = [](TopKRest rest) {
    return [rest](const X& x, G g) {
      return top_k_kl_loss<T>(x.student, top_k_logits<T>(x.teacher, 4, 2.0),
                              {.rest = rest, .common = {.sample_weights = x.weights}}, g);
    };
  };
  const auto gkd = [](double beta) {
    return [beta](const X& x, G g) {
      return jensen_shannon_loss<T>(x.student, x.teacher,
                                    {.beta = beta,
                                     .response = {.temperature = 2,
                                                  .times_temperature_squared = false,
                                                  .common = {.sample_weights = x.weights}}},
                                    g);
    };
  };
  const auto dkd = [](double alpha, double beta, double temperature) {
    return [=](const X& x, G g) {
      return dkd_loss<T>(
          x.student, x.teacher,
          {.labels = x.labels,
           .alpha = alpha,
           .beta = beta,
           .response = {.temperature = temperature, .common = {.sample_weights = x.weights}}},
          g);
    };
  };
  const auto kl = [](ResponseOptions options) {
    return [options](const X& x, G g) {
      ResponseOptions o = options;
      o.common.sample_weights = x.weights;
      return kl_loss<T>(x.student, x.teacher, o, g);
    };
  };
  const auto reverse_kl = [=](const X& x, G g) {
    return reverse_kl_loss<T>(x.student, x.teacher, {.common = labelled(x)}, g);
  };
  const auto soft_cross_entropy = [=](const X& x, G g) {
    return soft_cross_entropy_loss<T>(x.student, x.teacher, {.common = labelled(x)}, g);
  };
  const auto mse = [=](double temperature) {
    return [=](const X& x, G g) {
      return logit_mse_loss<T>(
          x.student, x.teacher,
          {.temperature = temperature, .times_temperature_squared = false, .common = labelled(x)},
          g);
    };
  };
  return {
      {"kd.t1", kl({.temperature = 1})},
      {"kd.t2", kl({.temperature = 2})},
      {"kd.t4", kl({.temperature = 4})},
      {"kd.masked_t2", kl({.temperature = 2})},
      {"kd.t4_element_mean",
       [=](const X& x, G g) {
         return kl_loss<T>(x.student, x.teacher, {.temperature = 4, .common = mean_of_elements(x)},
                           g);
       }},
      {"kd.label_mix",
       [=](const X& x, G g) {
         return kd_loss<T>(x.student, x.teacher,
                           {.teacher_weight = 0.7,
                            .label_weight = 0.3,
                            .labels = x.labels,
                            .response = {.temperature = 4, .common = labelled(x)}},
                           g);
       }},
      {"kd.soft_ce_t4_no_t2",
       [=](const X& x, G g) {
         return soft_cross_entropy_loss<T>(
             x.student, x.teacher,
             {.temperature = 4, .times_temperature_squared = false, .common = labelled(x)}, g);
       }},
      {"kd.soft_ce_per_sample_temperature",
       [=](const X& x, G g) {
         return soft_cross_entropy_loss<T>(x.student, x.teacher,
                                           {.sample_temperatures = x.temperatures,
                                            .times_temperature_squared = false,
                                            .common = labelled(x)},
                                           g);
       }},
      {"kd.mse_t1", mse(1)},
      {"kd.mse_t4", mse(4)},
      {"tinybert.prediction",
       [=](const X& x, G g) {
         return soft_cross_entropy_loss<T>(x.student, x.teacher, {.common = mean_of_elements(x)},
                                           g);
       }},
      {"distillm.forward_kl", soft_cross_entropy},
      {"distillm.forward_kl_teacher_minus_inf", soft_cross_entropy},
      {"distillm.reverse_kl", reverse_kl},
      {"distillm.reverse_kl_teacher_minus_inf", reverse_kl},
      {"distillm.symmetric_kl",
       [=](const X& x, G g) {
         return symmetric_kl_loss<T>(x.student, x.teacher,
                                     {.reverse = 0.9, .response = {.common = labelled(x)}}, g) +
                0.1 * teacher_entropy(x, labelled(x));
       }},
      {"distillm.js_distance",
       [=](const X& x, G g) {
         return jensen_shannon_loss<T>(x.student, x.teacher,
                                       {.beta = 0.1, .response = {.common = labelled(x)}}, g);
       }},
      {"distillm.tv_distance",
       [=](const X& x, G g) {
         return total_variation_loss<T>(x.student, x.teacher, {.common = labelled(x)}, g);
       }},
      {"distillm.skewed_forward_kl",
       [=](const X& x, G g) {
         return skew_kl_loss<T>(x.student, x.teacher, {.response = {.common = labelled(x)}}, g) +
                teacher_entropy(x, labelled(x));
       }},
      {"distillm.skewed_reverse_kl",
       [=](const X& x, G g) {
         return skew_reverse_kl_loss<T>(x.student, x.teacher, {.response = {.common = labelled(x)}},
                                        g);
       }},
      {"gkd.beta0", gkd(0.0)},
      {"gkd.beta0.1", gkd(0.1)},
      {"gkd.beta0.5", gkd(0.5)},
      {"gkd.beta1", gkd(1.0)},
      {"dkd.a1_b8_t4", dkd(1, 8, 4)},
      {"dkd.a1_b2_t1", dkd(1, 2, 1)},
      {"dkd.a1_b0_t4", dkd(1, 0, 4)},
      {"dkd.a0_b1_t4", dkd(0, 1, 4)},
      {"dist.t1",
       [=](const X& x, G g) {
         return dist_loss<T>(x.student, x.teacher, {.common = labelled(x)}, g);
       }},
      {"dist.b2_g0.5_t4",
       [=](const X& x, G g) {
         return dist_loss<T>(x.student, x.teacher,
                             {.beta = 2, .gamma = 0.5, .temperature = 4, .common = labelled(x)}, g);
       }},
      {"logit_standardization.t1", [](const X& x, G g) { return standardized_kl(x, 1, g); }},
      {"logit_standardization.t2", [](const X& x, G g) { return standardized_kl(x, 2, g); }},
      {"topk4.renormalized", top(TopKRest::teacher_renormalized)},
      {"topk4.student_renormalized", top(TopKRest::both_renormalized)},
      {"topk4.dropped", top(TopKRest::dropped)},
      {"topk4.remaining_bin", top(TopKRest::one_class)},
      {"vocabulary.teacher_padded", kl({.temperature = 2, .vocabulary = 10})},
      {"vocabulary.student_padded_cut", kl({.temperature = 2, .vocabulary = 10})},
      {"vocabulary.student_padded_kept",
       kl({.temperature = 2, .vocabulary = 10, .keep_student_padding = true})},
  };
}

template <class T>
void check_response_cases() {
  const DistillationOracle oracle;
  for (const ResponseCase<T>& c : response_cases<T>()) {
    CAPTURE(c.name);
    const auto meta = oracle.meta(c.name);
    ResponseInputs<T> x{.student = oracle.input<T>(c.name, "zs"),
                        .teacher = oracle.input<T>(c.name, "zt")};
    x.labels = meta["inputs"].contains("y") ? oracle.indices(c.name, "y")
                                            : std::vector<Index>(12, Index{0});
    x.weights = weights_of_labels(x.labels);
    if (meta["inputs"].contains("temperature"))
      x.temperatures = oracle.input<double, 1>(c.name, "temperature");
    Matrix<T> gradient(x.student.shape());
    gradient.fill(T(7));
    const double loss = c.loss(x, gradient), expected = oracle.loss(c.name),
                 tolerance = oracle.tolerance<T>(c.name);
    CHECK(std::fabs(loss - expected) <= tolerance * std::fabs(expected));
    CHECK(test::error_of_largest(gradient, oracle.gradient(c.name, "zs")) <= tolerance);
    CHECK(c.loss(x, {}) == loss);
  }
}

/// Logits, labels and what goes with them, of any size.
ResponseInputs<double> random_inputs(Index samples, Index classes, std::uint64_t seed) {
  Random random(seed);
  ResponseInputs<double> x{.student = Matrix<double>({samples, classes}),
                           .teacher = Matrix<double>({samples, classes}),
                           .labels = std::vector<Index>(static_cast<std::size_t>(samples)),
                           .weights = Vector<double>({samples}),
                           .temperatures = Vector<double>({samples})};
  for (double& z : x.student.span()) z = 2.0 * static_cast<double>(random.normal());
  for (double& z : x.teacher.span()) z = 2.0 * static_cast<double>(random.normal());
  for (Index& y : x.labels)
    y = static_cast<Index>(random.below(static_cast<std::uint32_t>(classes)));
  for (double& w : x.weights.span()) w = static_cast<double>(random.uniform(0.2f, 2.0f));
  for (double& t : x.temperatures.span()) t = static_cast<double>(random.uniform(0.5f, 3.0f));
  return x;
}

}  // namespace

TEST_CASE("losses between logits are their authors'") {
  SECTION("double") { check_response_cases<double>(); }
  SECTION("float") { check_response_cases<float>(); }
}

TEST_CASE("DistilBERT's logits learn from teacher and labels") {
  const DistillationOracle oracle;
  const std::string name = "distilbert.total";
  const auto student = oracle.input<double>(name, "zs"), teacher = oracle.input<double>(name, "zt");
  const auto labels = oracle.indices(name, "y");
  Matrix<double> gradient(student.shape());
  (void)kd_loss<double>(
      student, teacher,
      {.teacher_weight = 5, .label_weight = 2, .labels = labels, .response = {.temperature = 2}},
      gradient);
  CHECK(test::error_of_largest(gradient, oracle.gradient(name, "zs")) < 1e-6);
}

TEST_CASE("gradients of losses between logits are central differences") {
  const std::vector<Shape<2>> shapes{{1, 11}, {2, 10}, {5, 17}, {3, 33}};
  for (const ResponseCase<double>& c : response_cases<double>()) {
    const std::string name = c.name;
    for (const Shape<2>& shape : shapes) {
      if (name.find("dist.") == 0 && shape[0] < 3) continue;  // correlations of two are not smooth
      CAPTURE(name, shape[0], shape[1]);
      const auto x = random_inputs(shape[0], shape[1], 11);
      Matrix<double> gradient(shape);
      (void)c.loss(x, gradient);
      const auto value = [&](const Matrix<double>& z) {
        ResponseInputs<double> moved = x;
        moved.student = z;
        return c.loss(moved, {});
      };
      const Matrix<double> expected = test::central_differences(value, x.student);
      CHECK(test::error_of_largest(gradient, expected) < 1e-6);
    }
  }
}

TEST_CASE("losses between logits have the fact sheet's values") {
  const std::vector<double> s{1, 2, 3, 0.5, 0.2, -1, 0.7, 2}, z{2, 1, 4, 0, 1, 0, -1, 3};
  const std::vector<Index> y{2, 3};
  const MatrixView<const double> student(s, {2, 4}), teacher(z, {2, 4});
  struct Row {
    double at_1, at_4;
    std::function<double(ResponseOptions)> loss;
  };
  using R = ResponseOptions;
  const auto without = [](R r) {
    r.times_temperature_squared = false;
    return r;
  };
  const std::vector<Row> rows{
      {0.15921508, 0.02830899, [&](R r) { return kl_loss<double>(student, teacher, without(r)); }},
      {0.15921508, 0.45294387, [&](R r) { return kl_loss<double>(student, teacher, r); }},
      {0.75430177, 1.34217052,
       [&](R r) { return soft_cross_entropy_loss<double>(student, teacher, without(r)); }},
      {1.09750000, 0.06859375,
       [&](R r) { return logit_mse_loss<double>(student, teacher, without(r)); }},
      {0.28553040, 0.03104061,
       [&](R r) { return reverse_kl_loss<double>(student, teacher, without(r)); }},
      {0.01477903, 0.00256665,
       [&](R r) {
         return jensen_shannon_loss<double>(student, teacher,
                                            {.beta = 0.1, .response = without(r)});
       }},
      {0.04803213, 0.00736962,
       [&](R r) {
         return jensen_shannon_loss<double>(student, teacher, {.response = without(r)});
       }},
      {0.13729515, 0.02327396,
       [&](R r) { return skew_kl_loss<double>(student, teacher, {.response = without(r)}); }},
      {0.18345320, 0.02458054,
       [&](R r) {
         return skew_reverse_kl_loss<double>(student, teacher, {.response = without(r)});
       }},
      {0.08058272, 0.12913617,
       [&](R r) {
         return dkd_loss<double>(student, teacher, {.labels = y, .beta = 0, .response = r});
       }},
      {0.46514992, 0.54762088,
       [&](R r) {
         return dkd_loss<double>(student, teacher,
                                 {.labels = y, .alpha = 0, .beta = 1, .response = r});
       }},
      {3.80178206, 4.51010320,
       [&](R r) { return dkd_loss<double>(student, teacher, {.labels = y, .response = r}); }},
      {0.04297504, 0.18388060,
       [&](R r) {
         return dist_loss<double>(student, teacher, {.gamma = 0, .temperature = r.temperature});
       }},
      {0.50000002, 0.50000034,
       [&](R r) {
         return dist_loss<double>(student, teacher, {.beta = 0, .temperature = r.temperature});
       }},
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(i);
    // What eight digits leave open.
    CHECK(std::fabs(rows[i].loss({.temperature = 1}) - rows[i].at_1) < 1e-8);
    CHECK(std::fabs(rows[i].loss({.temperature = 4}) - rows[i].at_4) < 1e-8);
  }
  Matrix<double> expected({2, 4});
  const double golden[] = {-0.08043171, 0.14720357,  -0.13260948, 0.06583762,
                           -0.04555997, -0.05258263, 0.20946001,  -0.11131742};
  std::copy(std::begin(golden), std::end(golden), expected.data());
  Matrix<double> gradient({2, 4});
  (void)kl_loss<double>(student, teacher, {.temperature = 4}, gradient);
  CHECK(test::error_of_largest(gradient, expected) < 1e-7);
}

TEST_CASE("losses between logits keep their identities") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const auto x = random_inputs(3, 7, seed);
    CAPTURE(seed);
    const ResponseOptions common{.temperature = 1.7};
    const auto at = [&](const Matrix<double>& s, const Matrix<double>& t, double beta) {
      return jensen_shannon_loss<double>(s, t, {.beta = beta, .response = common});
    };
    // Divergences: 0 for equal sides, else positive; shifts of a row change nothing.
    Matrix<double> shifted = x.student;
    for (double& z : shifted.span()) z += 31.0;
    for (const auto& loss : std::vector<std::function<double(const Matrix<double>&)>>{
             [&](const auto& s) { return kl_loss<double>(s, x.teacher, common); },
             [&](const auto& s) { return reverse_kl_loss<double>(s, x.teacher, common); },
             [&](const auto& s) {
               return symmetric_kl_loss<double>(s, x.teacher, {.response = common});
             },
             [&](const auto& s) { return at(s, x.teacher, 0.3); },
             [&](const auto& s) { return skew_kl_loss<double>(s, x.teacher, {}); },
             [&](const auto& s) { return skew_reverse_kl_loss<double>(s, x.teacher, {}); },
             [&](const auto& s) { return total_variation_loss<double>(s, x.teacher, common); },
             [&](const auto& s) {
               return top_k_kl_loss<double>(s, top_k_logits<double>(x.teacher, 3));
             }}) {
      CHECK(std::fabs(loss(x.teacher)) < 1e-14);
      CHECK(loss(x.student) > 0.0);
      CHECK(loss(shifted) == Approx(loss(x.student)).epsilon(1e-12));
    }
    // The mixtures swap their sides, and go over into the KL that they mix.
    CHECK(at(x.student, x.teacher, 0.3) == Approx(at(x.teacher, x.student, 0.7)).epsilon(1e-12));
    CHECK(at(x.student, x.teacher, 1e-9) / 1e-9 ==
          Approx(kl_loss<double>(x.student, x.teacher, common)).epsilon(1e-6));
    CHECK(skew_kl_loss<double>(x.student, x.teacher, {.skew = 0.0, .response = common}) ==
          Approx(kl_loss<double>(x.student, x.teacher, common)).epsilon(1e-12));
    CHECK(skew_reverse_kl_loss<double>(x.student, x.teacher, {.skew = 0.0, .response = common}) ==
          Approx(reverse_kl_loss<double>(x.student, x.teacher, common)).epsilon(1e-12));
    // KL = target's term + (1 - p_y) of the others'.
    for (Index i = 0; i < 3; ++i) {
      const auto row = [&](const Matrix<double>& m) { return m.view().slice(0, i, 1); };
      const detail::Softmax p(x.teacher.row(i), 4.0);
      const std::vector<Index> label{x.labels[static_cast<std::size_t>(i)]};
      CHECK(dkd_loss<double>(row(x.student), row(x.teacher),
                             {.labels = label, .beta = 1.0 - p[label[0]]}) ==
            Approx(kl_loss<double>(row(x.student), row(x.teacher), {.temperature = 4}))
                .epsilon(1e-12));
    }
    // k + 1 classes say less than all, and k = all the same.
    const double whole = kl_loss<double>(x.student, x.teacher);
    for (Index k = 1; k <= 7; ++k)
      CHECK(top_k_kl_loss<double>(x.student, top_k_logits<double>(x.teacher, k)) <= whole + 1e-14);
    CHECK(top_k_kl_loss<double>(x.student, top_k_logits<double>(x.teacher, 7)) ==
          Approx(whole).epsilon(1e-12));
    // Probabilities in place of logits.
    Matrix<double> p({3, 7});
    for (Index i = 0; i < 3; ++i)
      for (Index j = 0; j < 7; ++j) p(i, j) = detail::Softmax(x.teacher.row(i), 1.7)[j];
    Matrix<double> of_logits({3, 7}), of_probabilities({3, 7});
    CHECK(soft_target_kl_loss<double>(x.student, p, common, of_probabilities) ==
          Approx(kl_loss<double>(x.student, x.teacher, common, of_logits)).epsilon(1e-12));
    CHECK(test::error_of_largest(of_probabilities, of_logits) < 1e-12);
    CHECK(soft_target_cross_entropy_loss<double>(x.student, p, common) ==
          Approx(soft_cross_entropy_loss<double>(x.student, x.teacher, common)).epsilon(1e-12));
  }
}

TEST_CASE("cross entropy smooths labels, skips those to ignore") {
  auto x = random_inputs(6, 5, 3);
  x.labels[1] = x.labels[4] = ignored_label;
  double expected = 0.0, smooth = 0.0;
  for (const Index i : {0, 2, 3, 5}) {
    const detail::Softmax q(x.student.row(i), 1.0);
    for (Index j = 0; j < 5; ++j) smooth -= q.log(j) / 5.0 / 4.0;
    expected -= q.log(x.labels[static_cast<std::size_t>(i)]) / 4.0;
  }
  CHECK(cross_entropy_loss<double>(x.student, x.labels) == Approx(expected).epsilon(1e-12));
  CHECK(cross_entropy_loss<double>(x.student, x.labels, {.label_smoothing = 0.1}) ==
        Approx(0.9 * expected + 0.1 * smooth).epsilon(1e-12));
  Matrix<double> gradient(x.student.shape());
  const CrossEntropyOptions options{.label_smoothing = 0.3, .common = {.weight = 2.5}};
  (void)cross_entropy_loss<double>(x.student, x.labels, options, gradient);
  const auto value = [&](const Matrix<double>& z) {
    return cross_entropy_loss<double>(z, x.labels, options);
  };
  CHECK(test::error_of_largest(gradient, test::central_differences(value, x.student)) < 1e-6);
  for (Index j = 0; j < 5; ++j) CHECK(gradient(1, j) == 0.0);
}

TEST_CASE("weights, divisors, added gradients, strides and threads do as they say") {
  const auto x = random_inputs(9, 12, 5);
  for (const ResponseCase<double>& c : response_cases<double>()) {
    CAPTURE(c.name);
    // A row of weight 0 is not read, and has the gradient 0.
    ResponseInputs<double> masked = x;
    if (std::string(c.name).find("logit_standardization") == std::string::npos) {
      masked.weights[3] = 0.0;
      Matrix<double> gradient(x.student.shape());
      const double loss = c.loss(masked, gradient);
      for (Index j = 0; j < 12; ++j)
        masked.student(3, j) = masked.teacher(3, j) = std::numeric_limits<double>::quiet_NaN();
      Matrix<double> again(x.student.shape());
      again.fill(5.0);
      if (std::string(c.name).find("topk4") == std::string::npos) {
        CHECK(c.loss(masked, again) == loss);
        CHECK(again == gradient);
      }
      for (Index j = 0; j < 12; ++j) CHECK(gradient(3, j) == 0.0);
    }
  }
  const ResponseOptions plain{.temperature = 2};
  Matrix<double> once(x.student.shape()), sum(x.student.shape());
  const double loss = kl_loss<double>(x.student, x.teacher, plain, once);
  sum.fill(1.0);
  ResponseOptions more = plain;
  more.common = {.weight = 0.5, .add_gradient = true, .divisor = 3.0};
  CHECK(kl_loss<double>(x.student, x.teacher, more, sum) ==
        Approx(0.5 * loss * 9.0 / 3.0).epsilon(1e-14));
  for (Index i = 0; i < sum.size(); ++i)
    CHECK(sum.data()[i] == Approx(1.0 + 1.5 * once.data()[i]).epsilon(1e-13));
  const test::Strided<double> student(x.student.view()), teacher(x.teacher.view());
  test::Strided<double> strided(once.view());
  CHECK(kl_loss<double>(student.view(), teacher.view(), plain, strided.view()) == loss);
  for (Index i = 0; i < 9; ++i)
    for (Index j = 0; j < 12; ++j) CHECK(strided.view()(i, j) == once(i, j));
  const auto backwards = [](Index count, FunctionRef<void(Index)> body) {
    for (Index i = count; i-- > 0;) body(i);
  };
  Matrix<double> other(x.student.shape());
  CHECK(kl_loss<double>(x.student, x.teacher, plain, other, {.parallel_for = backwards}) == loss);
  CHECK(other == once);
  CHECK(kl_loss(Matrix<float>({0, 4}), Matrix<float>({0, 4})) == 0.0);
}

TEST_CASE("masked classes and sure models leave losses finite") {
  const std::vector<double> s{1, 2, 3, -1}, masked{1, -inf, 0, 2}, sure{1000, 0, -1000, -900};
  const MatrixView<const double> student(s, {1, 4}), hidden(masked, {1, 4}), extreme(sure, {1, 4});
  const std::vector<Index> label{0};
  const std::vector<
      std::function<double(MatrixView<const double>, MatrixView<const double>, MatrixView<double>)>>
      losses{
          [](auto a, auto b, auto g) { return kl_loss<double>(a, b, {}, g); },
          [](auto a, auto b, auto g) { return reverse_kl_loss<double>(a, b, {}, g); },
          [](auto a, auto b, auto g) { return symmetric_kl_loss<double>(a, b, {}, g); },
          [](auto a, auto b, auto g) { return jensen_shannon_loss<double>(a, b, {}, g); },
          [](auto a, auto b, auto g) { return skew_kl_loss<double>(a, b, {}, g); },
          [](auto a, auto b, auto g) { return skew_kl_loss<double>(a, b, {.skew = 0}, g); },
          [](auto a, auto b, auto g) { return skew_reverse_kl_loss<double>(a, b, {}, g); },
          [](auto a, auto b, auto g) { return skew_reverse_kl_loss<double>(a, b, {.skew = 0}, g); },
          [](auto a, auto b, auto g) { return total_variation_loss<double>(a, b, {}, g); },
          [](auto a, auto b, auto g) { return soft_cross_entropy_loss<double>(a, b, {}, g); },
          [](auto a, auto b, auto g) { return dist_loss<double>(a, b, {}, g); },
          [](auto a, auto b, auto g) {
            return top_k_kl_loss<double>(a, top_k_logits<double>(b, 2), {}, g);
          },
          [&](auto a, auto b, auto g) { return dkd_loss<double>(a, b, {.labels = label}, g); }};
  for (std::size_t k = 0; k < losses.size(); ++k)
    for (const auto& a : {student, hidden, extreme})
      for (const auto& b : {student, hidden, extreme}) {
        CAPTURE(k, a(0, 0), a(0, 1), b(0, 0), b(0, 1));
        Matrix<double> gradient({1, 4});
        CHECK(is_finite(losses[k](a, b, gradient)));
        for (const double g : gradient.span()) CHECK(is_finite(g));
        if (a(0, 1) == -inf) CHECK(gradient(0, 1) == 0.0);
        // Finite logits that differ by little move all in the same way: values are differentiable
        // where classes are masked too.
        if (k == 8 || k == 10 || a(0, 0) == 1000) continue;
        const auto value = [&](const Matrix<double>& z) { return losses[k](z, b, {}); };
        Matrix<double> at{a};
        Matrix<double> expected = test::central_differences(value, at);
        if (a(0, 1) == -inf) expected(0, 1) = 0.0;
        for (Index j = 0; j < 4; ++j)
          CHECK(std::fabs(gradient(0, j) - expected(0, j)) <
                1e-6 * (1.0 + std::fabs(expected(0, j))));
      }
}

TEST_CASE("bad logits and options are one clear line") {
  const Matrix<float> z({2, 3}), wide({2, 4});
  Matrix<float> nan({2, 3}), all_masked({2, 3});
  nan(1, 2) = std::numeric_limits<float>::quiet_NaN();
  for (Index j = 0; j < 3; ++j) all_masked(0, j) = -std::numeric_limits<float>::infinity();
  const std::vector<double> negative{1, -1}, one{1};
  const std::vector<Index> labels{0, 2}, beyond{0, 3}, few{0};
  struct Row {
    const char* message;
    std::function<double()> call;
  };
  for (const Row& row : std::vector<Row>{
           {"the student's logits hold NaN at [1, 2]", [&] { return kl_loss(nan, z); }},
           {"the teacher's logits hold NaN at [1, 2]", [&] { return dist_loss(z, nan); }},
           {"no class is possible in row 0 of the teacher's logits",
            [&] { return reverse_kl_loss(z, all_masked); }},
           {"where padding differs, the option vocabulary", [&] { return kl_loss(z, wide); }},
           {"a vocabulary of 4 does not fit", [&] { return kl_loss(z, wide, {.vocabulary = 4}); }},
           {"logits without classes",
            [&] {
              return kl_loss(Matrix<float>({2, 0}), Matrix<float>({2, 0}));
            }},
           {"the temperature is 0", [&] { return kl_loss(z, z, {.temperature = 0}); }},
           {"the temperature is nan",
            [&] { return dist_loss(z, z, {.temperature = std::nan("")}); }},
           {"the temperature of sample 1 is -1",
            [&] { return kl_loss(z, z, {.sample_temperatures = negative}); }},
           {"there are 1 temperatures for 2 samples",
            [&] { return kl_loss(z, z, {.sample_temperatures = one}); }},
           {"the weight of sample 1 is -1",
            [&] { return kl_loss(z, z, {.common = {.sample_weights = negative}}); }},
           {"there are 1 weights for 2 samples",
            [&] { return dist_loss(z, z, {.common = {.sample_weights = one}}); }},
           {"the beta of a Jensen-Shannon divergence is 1.1",
            [&] { return jensen_shannon_loss(z, z, {.beta = 1.1}); }},
           {"the skew is -0.1", [&] { return skew_kl_loss(z, z, {.skew = -0.1}); }},
           {"the share of the reverse divergence is 2",
            [&] { return symmetric_kl_loss(z, z, {.reverse = 2}); }},
           {"the label of sample 1 is 3: it must be below 3, or -100 to be ignored",
            [&] { return cross_entropy_loss(z, beyond); }},
           {"there are 1 labels for 2 samples", [&] { return dkd_loss(z, z, {.labels = few}); }},
           {"the label smoothing is 1.5",
            [&] { return cross_entropy_loss(z, labels, {.label_smoothing = 1.5}); }},
           {"and there are none: give labels, or a label_weight of 0",
            [&] { return kd_loss(z, z); }},
           {"the weight of the teacher is -1",
            [&] { return kd_loss(z, z, {.teacher_weight = -1, .labels = labels}); }},
           {"the alpha of DKD is -1",
            [&] { return dkd_loss(z, z, {.labels = labels, .alpha = -1}); }},
           {"the gamma of DIST is -1", [&] { return dist_loss(z, z, {.gamma = -1}); }},
           {"cannot keep 4 of 3 classes", [&] { return top_k_kl_loss(z, top_k_logits(z, 4)); }},
           {"the teacher names class 3 of sample 0, the student has 3",
            [&] {
              TopKLogits<float> top = top_k_logits(z, 2);
              top.classes(0, 1) = 3;
              return top_k_kl_loss(z, top);
            }},
           {"the teacher names class 0 of sample 1 twice",
            [&] {
              TopKLogits<float> top = top_k_logits(z, 2);
              top.classes(1, 1) = 0;
              return top_k_kl_loss(z, top);
            }},
           {"the targets of sample 0 have the sum 0", [&] { return soft_target_kl_loss(z, z); }},
           {"the target at [1, 2] is nan, not a probability",
            [&] {
              Matrix<float> p({2, 3});
              p.fill(1.0f / 3.0f);
              p(1, 2) = std::numeric_limits<float>::quiet_NaN();
              return soft_target_kl_loss(z, p);
            }},
           {"this loss takes finite ones only",
            [&] {
              Matrix<float> m({2, 3});
              m(1, 1) = -std::numeric_limits<float>::infinity();
              return logit_mse_loss(z, m);
            }},
           {"no padding to keep",
            [&] { return logit_mse_loss(z, z, {.keep_student_padding = true}); }},
           {"the gradient has shape [2, 4], the student [2, 3]",
            [&] {
              Matrix<float> gradient({2, 4});
              return kl_loss(z, z, {}, gradient);
            }},
           {"the weight of a loss is nan",
            [&] { return kl_loss(z, z, {.common = {.weight = std::nan("")}}); }},
           {"is divided by a positive number",
            [&] { return kl_loss(z, z, {.common = {.divisor = -1}}); }},
       }) {
    CAPTURE(row.message);
    CHECK_THROWS_WITH(row.call(), ContainsSubstring(row.message));
  }
}
