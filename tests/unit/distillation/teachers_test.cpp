#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "pare/distillation/aekd.hpp"
#include "pare/distillation/confidence_weights.hpp"
#include "pare/distillation/confident_features.hpp"
#include "pare/distillation/entropy_weights.hpp"
#include "pare/distillation/soft_cross_entropy.hpp"
#include "pare/distillation/soft_targets.hpp"
#include "pare/distillation/teacher_means.hpp"
#include "pare/distillation/teachers_kl.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::DistillationOracle;

namespace {

template <class T>
using Logits = MatrixView<const T>;

template <class T>
struct TeachersCase {
  const char* name;
  std::function<double(Logits<T>, const std::vector<Logits<T>>&, Labels, MatrixView<T>)> loss;
};

template <class T>
std::vector<TeachersCase<T>> teachers_cases() {
  using Many = const std::vector<Logits<T>>&;
  using G = MatrixView<T>;
  const ResponseOptions response{.temperature = 4};
  // The authors' code divides by the number of teachers once more.
  const ResponseOptions divided{.temperature = 4, .common = {.weight = 1.0 / 3.0}};
  return {
      {"multi.average_loss",
       [=](Logits<T> s, Many t, Labels, G g) {
         return teachers_kl_loss<T>(s, t, {.response = response}, g);
       }},
      {"multi.weighted",
       [=](Logits<T> s, Many t, Labels, G g) {
         const std::vector<double> w{0.5, 0.3, 0.2};
         return teachers_kl_loss<T>(s, t, {.weights = {.of_teacher = w}, .response = response}, g);
       }},
      {"multi.entropy_ebkd",
       [=](Logits<T> s, Many t, Labels, G g) {
         const auto w = entropy_weights<T>(t);
         return teachers_kl_loss<T>(s, t, {.weights = {.of_sample = w}, .response = divided}, g);
       }},
      {"multi.confidence_camkd",
       [=](Logits<T> s, Many t, Labels y, G g) {
         const auto w = confidence_weights<T>(t, y);
         return teachers_kl_loss<T>(s, t, {.weights = {.of_sample = w}, .response = divided}, g);
       }},
      {"multi.average_logits",
       [=](Logits<T> s, Many t, Labels, G g) {
         return soft_cross_entropy_loss<T>(
             s, mean_logits<T>(t), {.temperature = 4, .times_temperature_squared = false}, g);
       }},
      {"multi.average_probabilities",
       [=](Logits<T> s, Many t, Labels, G g) {
         return soft_target_kl_loss<T>(s, mean_probabilities<T>(t, 4.0), response, g);
       }},
  };
}

template <class T>
void check_teachers_cases() {
  const DistillationOracle oracle;
  for (const TeachersCase<T>& c : teachers_cases<T>()) {
    CAPTURE(c.name);
    const Matrix<T> student = oracle.input<T>(c.name, "zs");
    const std::vector<Matrix<T>> teachers{oracle.input<T>(c.name, "zt"),
                                          oracle.input<T>(c.name, "zt2"),
                                          oracle.input<T>(c.name, "zt3")};
    const std::vector<Logits<T>> views(teachers.begin(), teachers.end());
    const auto labels = oracle.indices(c.name, "y");
    Matrix<T> gradient(student.shape());
    const double loss = c.loss(student, views, labels, gradient), expected = oracle.loss(c.name),
                 tolerance = oracle.tolerance<T>(c.name);
    CHECK(std::fabs(loss - expected) <= tolerance * std::fabs(expected));
    CHECK(test::error_of_largest(gradient, oracle.gradient(c.name, "zs")) <= tolerance);
    const auto weights = [&](const Matrix<double>& actual) {
      CHECK(test::error_of_largest(
                actual, oracle.tensor<double>(std::string(c.name) + ".weights")) <= tolerance);
    };
    if (std::string(c.name) == "multi.entropy_ebkd") weights(entropy_weights<T>(views));
    if (std::string(c.name) == "multi.confidence_camkd")
      weights(confidence_weights<T>(views, labels));
  }
}

template <class T>
void check_confident_features() {
  const DistillationOracle oracle;
  const std::string name = "multi.camkd_features";
  std::vector<Matrix<T>> s, m, o, of_s, of_o;
  for (const std::string k : {"1", "2"}) {
    const auto flat = [&](const auto& maps) {
      return Matrix<std::remove_cv_t<std::remove_pointer_t<decltype(maps.data())>>>(
          TensorView(maps.data(), Shape<2>{maps.extent(0), maps.size() / maps.extent(0)}));
    };
    s.push_back(flat(oracle.input<T, 4>(name, "s" + k)));
    m.push_back(flat(oracle.input<T, 4>(name, "m" + k)));
    o.push_back(oracle.input<T>(name, "o" + k));
    of_s.emplace_back(s.back().shape());
    of_o.emplace_back(o.back().shape());
  }
  const auto labels = oracle.indices(name, "y");
  using Views = std::vector<Logits<T>>;
  const ConfidentFeaturesOptions options{.labels = labels, .common = {.weight = 0.5}};
  const std::vector<MatrixView<T>> into_s(of_s.begin(), of_s.end()),
      into_o(of_o.begin(), of_o.end());
  const double loss = confident_features_loss<T>(
      Views(s.begin(), s.end()), Views(m.begin(), m.end()), Views(o.begin(), o.end()), options,
      {.features = into_s, .logits = into_o});
  const double tolerance = oracle.tolerance<T>(name);
  CHECK(std::fabs(loss - oracle.loss(name)) <= tolerance * oracle.loss(name));
  CHECK(test::error_of_largest(confidence_weights<T>(Views(o.begin(), o.end()), labels),
                               oracle.tensor<double>(name + ".weights")) <= tolerance);
  for (std::size_t k = 0; k < 2; ++k) {
    const std::string argument = std::to_string(k + 1);
    const auto of_maps = oracle.gradient<4>(name, "s" + argument);
    const Matrix<double> expected(TensorView<const double, 2>(of_maps.data(), s[k].shape()));
    CHECK(test::error_of_largest(of_s[k], expected) <= tolerance);
    CHECK(test::error_of_largest(of_o[k], oracle.gradient(name, "o" + argument)) <= tolerance);
  }
}

Matrix<double> random_logits(Index rows, Index cols, std::uint64_t seed) {
  return Matrix<double>(MatrixView<const float>(test::random_matrix(rows, cols, seed, 2.0f)));
}

}  // namespace

TEST_CASE("losses of several teachers are their authors'") {
  SECTION("double") {
    check_teachers_cases<double>();
    check_confident_features<double>();
  }
  SECTION("float") {
    check_teachers_cases<float>();
    check_confident_features<float>();
  }
}

TEST_CASE("gradients of several teachers are central differences") {
  for (const Shape<2>& shape : {Shape<2>{1, 2}, {3, 7}, {4, 17}}) {
    const Matrix<double> student = random_logits(shape[0], shape[1], 1);
    std::vector<Matrix<double>> teachers;
    for (std::uint64_t m = 0; m < 3; ++m)
      teachers.push_back(random_logits(shape[0], shape[1], 10 + m));
    const std::vector<Logits<double>> views(teachers.begin(), teachers.end());
    const std::vector<Index> labels(static_cast<std::size_t>(shape[0]), 1);
    for (const auto& c : teachers_cases<double>()) {
      CAPTURE(c.name, shape[0], shape[1]);
      Matrix<double> gradient(shape);
      (void)c.loss(student, views, labels, gradient);
      const auto value = [&](const Matrix<double>& z) { return c.loss(z, views, labels, {}); };
      CHECK(test::error_of_largest(gradient, test::central_differences(value, student)) < 1e-6);
    }
    // Features and the logits made of them, of one, two and three teachers.
    for (std::size_t count = 1; count <= 3; ++count) {
      CAPTURE(count, shape[0], shape[1]);
      std::vector<Matrix<double>> s, t, of_s, of_z;
      for (std::size_t m = 0; m < count; ++m) {
        const auto width = static_cast<Index>(m + 2);
        s.push_back(random_logits(shape[0], width, 20 + m));
        t.push_back(random_logits(shape[0], width, 30 + m));
        of_s.emplace_back(s[m].shape());
        of_z.emplace_back(shape);
      }
      std::vector<Matrix<double>> z(teachers.begin(), teachers.begin() + static_cast<Index>(count));
      using Views = std::vector<Logits<double>>;
      const Vector<double> weights = [&] {
        Vector<double> w({shape[0]});
        w.fill(0.7);
        return w;
      }();
      const auto loss = [&](const ConfidentFeaturesGradients<double>& gradients) {
        return confident_features_loss<double>(
            Views(s.begin(), s.end()), Views(t.begin(), t.end()), Views(z.begin(), z.end()),
            {.labels = labels, .common = {.weight = 1.5, .sample_weights = weights}}, gradients);
      };
      const std::vector<MatrixView<double>> into_s(of_s.begin(), of_s.end()),
          into_z(of_z.begin(), of_z.end());
      (void)loss({.features = into_s, .logits = into_z});
      for (std::size_t m = 0; m < count; ++m) {
        const auto with = [&](std::vector<Matrix<double>>& all) {
          return [&](const Matrix<double>& at) {
            const Matrix<double> kept = std::exchange(all[m], at);
            const double value = loss({});
            all[m] = kept;
            return value;
          };
        };
        const auto of_features = test::central_differences(with(s), Matrix<double>(s[m]));
        CHECK(test::error_of_largest(of_s[m], of_features) < 1e-6);
        const auto of_logits = test::central_differences(with(z), Matrix<double>(z[m]));
        for (Index i = 0; i < of_logits.size(); ++i)
          CHECK(std::fabs(of_z[m].data()[i] - of_logits.data()[i]) < 1e-7);
      }
    }
  }
}

TEST_CASE("the mean of teachers' losses has the gradient of their mean probabilities") {
  const Matrix<double> student = random_logits(5, 9, 1), first = random_logits(5, 9, 2),
                       second = random_logits(5, 9, 3);
  const std::vector<Logits<double>> teachers{first, second};
  Matrix<double> a(student.shape()), b(student.shape()), c(student.shape());
  const ResponseOptions response{.temperature = 3};
  (void)teachers_kl_loss<double>(student, teachers, {.response = response}, a);
  (void)soft_target_kl_loss<double>(student, mean_probabilities<double>(teachers, 3.0), response,
                                    b);
  CHECK(test::error_of_largest(a, b) < 1e-12);
  (void)kl_loss<double>(student, mean_logits<double>(teachers), response, c);
  CHECK(test::error_of_largest(c, b) > 1e-3);
}

TEST_CASE("weights of teachers at their edges") {
  const Matrix<double> z = random_logits(3, 5, 1);
  Matrix<double> certain({3, 5});
  for (Index i = 0; i < 3; ++i) certain(i, i) = 2000.0;
  const std::vector<Index> labels{0, ignored_label, 2};
  const std::vector<Logits<double>> one{z}, sure{certain, certain}, two{z, certain};
  const auto single = entropy_weights<double>(one), equal = entropy_weights<double>(sure);
  for (const double w : single.span()) CHECK(w == 1.0);
  for (const double w : equal.span()) CHECK(w == 0.5);
  const auto alone = confidence_weights<double>(one, labels);
  CHECK(alone(0, 0) == 1.0);
  CHECK(alone(0, 1) == 0.0);
  const auto confident = confidence_weights<double>(two, labels);
  CHECK(confident(0, 0) + confident(1, 0) == Approx(1.0).epsilon(1e-14));
  CHECK(confident(1, 0) > confident(0, 0));
  CHECK(confident(1, 1) == 0.0);
}

TEST_CASE("min-norm weights meet the closed form, the optimality of their program and bounds") {
  const Matrix<double> g = random_logits(2, 6, 4);
  double a = 0.0, b = 0.0;
  for (Index d = 0; d < 6; ++d) {
    a += (g(1, d) - g(0, d)) * g(1, d);
    b += (g(1, d) - g(0, d)) * (g(1, d) - g(0, d));
  }
  CHECK(min_norm_weights(g)[0] == Approx(std::clamp(a / b, 0.0, 1.0)).margin(1e-12));
  for (const Index count : {1, 3, 5, 8})
    for (const double bound : {1.0, 0.6, 1.5 / static_cast<double>(count)})
      for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        const double largest = std::min(1.0, std::max(bound, 1.0 / static_cast<double>(count)));
        CAPTURE(count, largest, seed);
        const Matrix<double> vectors = random_logits(count, 12, seed);
        const Vector<double> w = min_norm_weights(vectors, largest);
        double sum = 0.0, norm = 0.0;
        Vector<double> mixed({12});
        for (Index m = 0; m < count; ++m) {
          CHECK(w[m] >= 0.0);
          CHECK(w[m] <= largest);
          sum += w[m];
          for (Index d = 0; d < 12; ++d) mixed[d] += w[m] * vectors(m, d);
        }
        CHECK(sum == Approx(1.0).epsilon(1e-12));
        // No weight can move from one vector to another that pulls less.
        double lowest = 1e300, highest = -1e300;
        for (Index m = 0; m < count; ++m) {
          double slope = 0.0;
          for (Index d = 0; d < 12; ++d) slope += vectors(m, d) * mixed[d];
          norm = std::max(norm, std::fabs(slope));
          if (w[m] < largest) lowest = std::min(lowest, slope);
          if (w[m] > 0.0) highest = std::max(highest, slope);
        }
        CHECK(highest - lowest <= 1e-9 * (1.0 + norm));
      }
}

TEST_CASE("AEKD descends for every teacher") {
  const Matrix<double> student = random_logits(6, 5, 1), near = random_logits(6, 5, 2);
  Matrix<double> far = random_logits(6, 5, 3);
  for (double& z : far.span()) z *= 6.0;
  const std::vector<Logits<double>> teachers{near, far};
  for (const bool is_normalized : {false, true}) {
    const auto w = aekd_weights<double>(student, teachers, {.is_normalized = is_normalized});
    CHECK(w[0] + w[1] == Approx(1.0).epsilon(1e-12));
    Matrix<double> of_mix(student.shape());
    (void)teachers_kl_loss<double>(student, teachers, {.weights = {.of_teacher = w}}, of_mix);
    for (const auto& teacher : teachers) {
      Matrix<double> own(student.shape());
      (void)kl_loss<double>(student, teacher, {}, own);
      double along = 0.0;
      for (Index j = 0; j < 5; ++j) {
        double x = 0.0, y = 0.0;
        for (Index i = 0; i < 6; ++i) x += own(i, j), y += of_mix(i, j);
        along += x * y;
      }
      CHECK(along >= -1e-12);
    }
  }
  const std::vector<Logits<double>> with_itself{near, student};
  CHECK(aekd_weights<double>(student, with_itself)[1] == 1.0);
}

TEST_CASE("bad teachers are one clear line") {
  const Matrix<float> z({2, 3}), wide({2, 4});
  const std::vector<Logits<float>> none, teachers{z, z}, unlike{z, wide};
  const std::vector<double> few{1.0}, negative{1.0, -0.5};
  const std::vector<Index> labels{0, 3}, good{0, 2};
  struct Row {
    const char* message;
    std::function<double()> call;
  };
  for (const Row& row : std::vector<Row>{
           {"there is no teacher", [&] { return teachers_kl_loss(z, none); }},
           {"teacher 1 has shape [2, 4], teacher 0 [2, 3]",
            [&] { return teachers_kl_loss(z, unlike); }},
           {"there are 1 weights for 2 teachers",
            [&] { return teachers_kl_loss(z, teachers, {.weights = {.of_teacher = few}}); }},
           {"the weight of a teacher is -0.5",
            [&] { return teachers_kl_loss(z, teachers, {.weights = {.of_teacher = negative}}); }},
           {"weights of shape [3, 2] for 2 teachers and 2 samples",
            [&] {
              const Matrix<double> w({3, 2});
              return teachers_kl_loss(z, teachers, {.weights = {.of_sample = w}});
            }},
           {"the label of sample 1 is 3",
            [&] { return confidence_weights(teachers, labels)(0, 0); }},
           {"there is no teacher", [&] { return static_cast<double>(mean_logits(none).size()); }},
           {"the temperature is 0",
            [&] { return static_cast<double>(mean_probabilities(teachers, 0.0).size()); }},
           {"a largest weight of 0.300000 for 2 vectors: it must be from 1 / 2 to 1",
            [&] { return aekd_weights(z, teachers, {.largest_weight = 0.3})[0]; }},
           {"there are no vectors to combine",
            [&] {
              return min_norm_weights(Matrix<double>({0, 3}))[0];
            }},
           {"features of 1 students",
            [&] {
              const std::vector<Logits<float>> single{z};
              return confident_features_loss(single, teachers, teachers, {.labels = good});
            }},
       }) {
    CAPTURE(row.message);
    CHECK_THROWS_WITH(row.call(), ContainsSubstring(row.message));
  }
}
