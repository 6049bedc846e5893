#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "pare/distillation/born_again.hpp"
#include "pare/distillation/ema_teacher.hpp"
#include "pare/distillation/mutual_learning.hpp"
#include "pare/distillation/own_teacher.hpp"
#include "pare/distillation/ps_kd.hpp"
#include "pare/distillation/tf_kd.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::DistillationOracle;

namespace {

template <class T>
using ConstView = MatrixView<const T>;

/// A loss of one student, as the oracle has it.
template <class T>
struct SelfCase {
  const char* name;
  std::function<double(ConstView<T>, ConstView<T>, Labels, MatrixView<T>)> loss;
};

template <class T>
std::vector<SelfCase<T>> self_cases() {
  using V = ConstView<T>;
  using G = MatrixView<T>;
  return {{"born_again.cwtm",
           [](V s, V t, Labels y, G g) {
             const auto w = cwtm_weights<T>(t);
             return cross_entropy_loss<T>(s, y, {.common = {.sample_weights = w, .divisor = 1}}, g);
           }},
          {"self.tf_kd", [](V s, V, Labels y, G g) { return tf_kd_loss<T>(s, {.labels = y}, g); }},
          {"self.ps_kd", [](V s, V t, Labels y, G g) {
             return ps_kd_loss<T>(s, t, {.labels = y, .share = 0.4}, g);
           }}};
}

/// One whose members all learn: inputs z1, z2, ... and f1, f2, ... where there are features.
template <class T>
void check_members(const std::string& name, std::size_t members, bool has_features) {
  const DistillationOracle oracle;
  CAPTURE(name);
  std::vector<Matrix<T>> z, f, of_z, of_f;
  for (std::size_t k = 1; k <= members; ++k) {
    z.push_back(oracle.input<T>(name, "z" + std::to_string(k)));
    of_z.emplace_back(z.back().shape());
    if (!has_features) continue;
    f.push_back(oracle.input<T>(name, "f" + std::to_string(k)));
    of_f.emplace_back(f.back().shape());
  }
  const std::vector<ConstView<T>> logits(z.begin(), z.end()), features(f.begin(), f.end());
  const std::vector<MatrixView<T>> into_z(of_z.begin(), of_z.end()),
      into_f(of_f.begin(), of_f.end());
  const auto y = oracle.indices(name, "y");
  const double loss = has_features
                          ? own_teacher_loss<T>(logits, features, {.beta = 0.03, .labels = y},
                                                {.logits = into_z, .features = into_f})
                          : mutual_learning_loss<T>(logits, y, {}, into_z);
  const double tolerance = oracle.tolerance<T>(name);
  CHECK(std::fabs(loss - oracle.loss(name)) <= tolerance * oracle.loss(name));
  for (std::size_t k = 0; k < members; ++k) {
    const std::string number = std::to_string(k + 1);
    CHECK(test::error_of_largest(of_z[k], oracle.gradient(name, "z" + number)) <= tolerance);
    if (has_features)
      CHECK(test::error_of_largest(of_f[k], oracle.gradient(name, "f" + number)) <= tolerance);
  }
}

template <class T>
void check_self_cases() {
  const DistillationOracle oracle;
  for (const SelfCase<T>& c : self_cases<T>()) {
    CAPTURE(c.name);
    const Matrix<T> student = oracle.input<T>(c.name, "zs"),
                    teacher = oracle.input<T>(c.name, "zt");
    const auto labels = oracle.indices(c.name, "y");
    Matrix<T> gradient(student.shape());
    const double loss = c.loss(student, teacher, labels, gradient), expected = oracle.loss(c.name),
                 tolerance = oracle.tolerance<T>(c.name);
    CHECK(std::fabs(loss - expected) <= tolerance * std::fabs(expected));
    CHECK(test::error_of_largest(gradient, oracle.gradient(c.name, "zs")) <= tolerance);
  }
  check_members<T>("dml.two", 2, false);
  check_members<T>("dml.three", 3, false);
  check_members<T>("self.byot", 4, true);
}

Matrix<double> some_logits(Index rows, Index cols, std::uint64_t seed) {
  return Matrix<double>(ConstView<float>(test::random_matrix(rows, cols, seed, 2.0f)));
}

}  // namespace

TEST_CASE("losses of self- and online distillation are their authors'") {
  SECTION("double") { check_self_cases<double>(); }
  SECTION("float") { check_self_cases<float>(); }
}

TEST_CASE("gradients of self-distillation are central differences") {
  const std::vector<Index> labels{2, 0, ignored_label, 4};
  const Matrix<double> student = some_logits(4, 5, 1), teacher = some_logits(4, 5, 2);
  for (const auto& c : self_cases<double>()) {
    CAPTURE(c.name);
    Matrix<double> gradient(student.shape());
    (void)c.loss(student, teacher, labels, gradient);
    const auto value = [&](const Matrix<double>& z) { return c.loss(z, teacher, labels, {}); };
    CHECK(test::error_of_largest(gradient, test::central_differences(value, student)) < 1e-6);
    for (Index j = 0; j < 5; ++j) CHECK(gradient(2, j) == 0.0);
  }
}

TEST_CASE("gradients of several students and exits are added where that is asked for") {
  const Matrix<double> first = some_logits(3, 4, 1), second = some_logits(3, 4, 2);
  const std::vector<ConstView<double>> both{first, second};
  const std::vector<Index> labels{0, 3, 1};
  std::vector<Matrix<double>> once(2, Matrix<double>({3, 4})), twice = once;
  const std::vector<MatrixView<double>> into_once(once.begin(), once.end()),
      into_twice(twice.begin(), twice.end());
  const auto mutual = [&](bool add, const std::vector<MatrixView<double>>& into) {
    return mutual_learning_loss<double>(
        both, labels, {.response = {.common = {.weight = 0.5, .add_gradient = add}}}, into);
  };
  const auto own = [&](bool add, const std::vector<MatrixView<double>>& into) {
    return own_teacher_loss<double>(
        both, {},
        {.labels = labels,
         .response = {.temperature = 3, .common = {.weight = 0.5, .add_gradient = add}}},
        {.logits = into});
  };
  const auto check = [&](const auto& loss) {
    const double value = loss(false, into_once);
    (void)loss(false, into_twice);
    CHECK(loss(true, into_twice) == value);
    for (std::size_t k = 0; k < 2; ++k)
      for (Index i = 0; i < once[k].size(); ++i)
        CHECK(twice[k].data()[i] == Approx(2.0 * once[k].data()[i]).epsilon(1e-12));
  };
  check(mutual);
  check(own);
}

TEST_CASE("born-again targets permute what is not the first choice") {
  const Matrix<double> teacher = some_logits(20, 6, 3);
  Random random(5);
  const Matrix<double> targets = dkpp_targets<double>(teacher, random);
  Random again(5);
  CHECK(dkpp_targets<double>(teacher, again) == targets);
  Index moved = 0;
  for (Index i = 0; i < 20; ++i) {
    const detail::Softmax p(teacher.row(i), 1.0);
    std::vector<double> before, after;
    for (Index j = 0; j < 6; ++j) {
      before.push_back(p[j]);
      after.push_back(targets(i, j));
      moved += p[j] != targets(i, j);
    }
    CHECK(targets(i, p.most_likely()) == p[p.most_likely()]);
    std::sort(before.begin(), before.end());
    std::sort(after.begin(), after.end());
    CHECK(before == after);
  }
  CHECK(moved > 60);  // of 100, four fifths on average
  double sum = 0.0;
  const auto confidences = cwtm_weights<double>(teacher);
  for (const double w : confidences.span()) sum += w;
  CHECK(sum == Approx(1.0).epsilon(1e-14));
}

TEST_CASE("a moving average begins as a mean") {
  Tensor<double, 3> teacher({2, 1, 2}), student({2, 1, 2});
  double mean = 0.0;
  for (Index step = 0; step < 5; ++step) {
    student.fill(static_cast<double>(step * step));
    mean += static_cast<double>(step * step) / 5.0;
    ema_update(teacher.view(), student, ema_momentum(step));
  }
  for (const double v : teacher.span()) CHECK(v == Approx(mean).epsilon(1e-14));
  CHECK(ema_momentum(0) == 0.0);
  CHECK(ema_momentum(998) == Approx(998.0 / 999.0));
  CHECK(ema_momentum(5000) == 0.999);
  Matrix<float> weights({2, 2}), other({2, 2});
  other.fill(1.0f);
  ema_update(weights.view(), other, 0.75);
  CHECK(weights(1, 1) == 0.25f);
}

TEST_CASE("bad self-distillation is one clear line") {
  const Matrix<float> z({2, 3});
  const std::vector<ConstView<float>> one{z}, two{z, z};
  const std::vector<Index> labels{0, 2}, few{0};
  Matrix<float> teacher({2, 2});
  struct Row {
    const char* message;
    std::function<void()> call;
  };
  for (const Row& row : std::vector<Row>{
           {"mutual learning needs two students, there are 1",
            [&] { (void)mutual_learning_loss(one, labels); }},
           {"there are 1 labels for 2 samples", [&] { (void)mutual_learning_loss(two, few); }},
           {"own teachers need two exits, there are 1",
            [&] { (void)own_teacher_loss(one, {}, {.labels = labels}); }},
           {"the alpha of own teachers is 2",
            [&] { (void)own_teacher_loss(two, {}, {.alpha = 2, .labels = labels}); }},
           {"there are 1 features or gradients for 2 exits",
            [&] { (void)own_teacher_loss(two, one, {.labels = labels}); }},
           {"the share of the model before is -1",
            [&] { (void)ps_kd_loss(z, z, {.labels = labels, .share = -1}); }},
           {"the share of the label is 1.1",
            [&] { (void)tf_kd_loss(z, {.labels = labels, .correct = 1.1}); }},
           {"there are 0 epochs", [] { (void)ps_kd_share(1, 0); }},
           {"step -1 of a moving average", [] { (void)ema_momentum(-1); }},
           {"the momentum of a moving average is 2",
            [&] {
              ema_update(teacher.view(), Matrix<float>({2, 2}), 2.0);
            }},
           {"the teacher has shape [2, 2], the student [2, 3]",
            [&] { ema_update(teacher.view(), z, 0.5); }},
       }) {
    CAPTURE(row.message);
    CHECK_THROWS_WITH(row.call(), ContainsSubstring(row.message));
  }
  CHECK(ps_kd_share(3, 10) == Approx(0.24));
  CHECK(ps_kd_share(30, 10) == 0.8);
}
