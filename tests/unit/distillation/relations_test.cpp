#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "pare/distillation/cka.hpp"
#include "pare/distillation/correlation_congruence.hpp"
#include "pare/distillation/pkt.hpp"
#include "pare/distillation/rkd.hpp"
#include "pare/distillation/similarity_preserving.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

/// A loss between embeddings, its case in the oracle, and what does not change it.
template <class T>
struct RelationCase {
  const char* name;
  std::function<double(MatrixView<const T>, MatrixView<const T>, MatrixView<T>)> loss;
  bool keeps_rotation = true, keeps_scale = true;
  bool is_smooth = true;
};

template <class T>
std::vector<RelationCase<T>> relation_cases() {
  return {
      {"sp", [](auto s, auto t, auto g) { return similarity_preserving_loss<T>(s, t, {}, g); }},
      {"rkd.distance", [](auto s, auto t, auto g) { return rkd_distance_loss<T>(s, t, {}, g); }},
      {"rkd.distance_two_equal_rows",
       [](auto s, auto t, auto g) { return rkd_distance_loss<T>(s, t, {}, g); }, true, true, false},
      {"rkd.angle", [](auto s, auto t, auto g) { return rkd_angle_loss<T>(s, t, {}, g); }},
      {"rkd.distance25_angle50",
       [](auto s, auto t, auto g) {
         const double distance = rkd_distance_loss<T>(s, t, {.weight = 25}, g);
         return distance + rkd_angle_loss<T>(s, t, {.weight = 50, .add_gradient = true}, g);
       }},
      {"pkt", [](auto s, auto t, auto g) { return pkt_loss<T>(s, t, {}, g); }},
      {"cka.biased", [](auto s, auto t, auto g) { return cka_loss<T>(s, t, {}, g); }},
      {"cka.unbiased",
       [](auto s, auto t, auto g) { return cka_loss<T>(s, t, {.unbiased = true}, g); }},
      {"cc.paper",
       [](auto s, auto t, auto g) { return correlation_congruence_loss<T>(s, t, {}, g); }},
      {"cc.repdistiller",
       [](auto s, auto t, auto g) { return neighbour_difference_loss<T>(s, t, {}, g); }, false,
       false, false},
  };
}

/// A rotation in the plane of two features.
Matrix<double> rotated(const Matrix<double>& f, double factor) {
  Matrix<double> r = f;
  for (Index i = 0; i < f.rows(); ++i) {
    r(i, 0) = 0.6 * f(i, 0) - 0.8 * f(i, 1);
    r(i, 1) = 0.8 * f(i, 0) + 0.6 * f(i, 1);
    for (Index j = 0; j < f.cols(); ++j) r(i, j) *= factor;
  }
  return r;
}

}  // namespace

TEMPLATE_TEST_CASE("losses of relations are the reference's", "", float, double) {
  const test::DistillationOracle oracle;
  for (const RelationCase<TestType>& c : relation_cases<TestType>()) {
    CAPTURE(c.name);
    const auto s = oracle.input<TestType>(c.name, "fs"), t = oracle.input<TestType>(c.name, "ft");
    Matrix<TestType> gradient(s.shape());
    const double tolerance = oracle.tolerance<TestType>(c.name);
    CHECK(c.loss(s, t, gradient) == Approx(oracle.loss(c.name)).epsilon(tolerance));
    CHECK(test::error_of_largest(gradient, oracle.gradient(c.name, "fs")) <= tolerance);
    CHECK(c.loss(s, t, {}) == c.loss(s, t, gradient));
  }
}

TEST_CASE("losses of relations agree with central differences and keep their invariants") {
  for (const RelationCase<double>& c : relation_cases<double>())
    for (const auto& [batch, features] : {Shape<2>{4, 3}, {6, 9}, {19, 5}}) {
      CAPTURE(c.name, batch, features);
      const Matrix<double> s(test::random_matrix(batch, features, 1).view());
      const Matrix<double> t(test::random_matrix(batch, features, 2).view());
      Matrix<double> gradient(s.shape());
      const double loss = c.loss(s, t, gradient);
      if (c.is_smooth) {
        const auto expected =
            test::central_differences([&](const Matrix<double>& x) { return c.loss(x, t, {}); }, s);
        CHECK(test::error_of_largest(gradient, expected) <= 1e-5);
      }
      CHECK(c.loss(t, t, {}) == Approx(0.0).margin(1e-12));
      if (c.keeps_rotation) CHECK(c.loss(rotated(s, 1.0), t, {}) == Approx(loss).epsilon(1e-9));
      if (c.keeps_scale) CHECK(c.loss(rotated(s, 3.0), t, {}) == Approx(loss).epsilon(1e-6));
    }
}

TEST_CASE("angles are those of all triples of a large batch") {
  const Matrix<double> s(test::random_matrix(35, 3, 1).view()),
      t(test::random_matrix(35, 3, 2).view());
  const auto cosine = [](const Matrix<double>& f, Index i, Index j, Index k) {
    double jk = 0.0, jj = 0.0, kk = 0.0;
    for (Index d = 0; d < 3; ++d) {
      const double to_j = f(j, d) - f(i, d), to_k = f(k, d) - f(i, d);
      jk += to_j * to_k;
      jj += to_j * to_j;
      kk += to_k * to_k;
    }
    return jj * kk > 0.0 ? jk / std::sqrt(jj * kk) : 0.0;
  };
  double expected = 0.0;
  for (Index i = 0; i < 35; ++i)
    for (Index j = 0; j < 35; ++j)
      for (Index k = 0; k < 35; ++k) {
        const double difference = std::fabs(cosine(s, i, j, k) - cosine(t, i, j, k));
        expected += difference < 1.0 ? 0.5 * difference * difference : difference - 0.5;
      }
  CHECK(rkd_angle_loss<double>(s, t) == Approx(expected / (35.0 * 35.0 * 35.0)).epsilon(1e-10));
}

TEST_CASE("equal rows of a student have finite gradients of angles") {
  Matrix<double> s(test::random_matrix(6, 4, 1).view());
  copy(s.row(1), s.row(4));
  const Matrix<double> t(test::random_matrix(6, 4, 2).view());
  Matrix<double> gradient(s.shape());
  CHECK(rkd_angle_loss<double>(s, t, {}, gradient) > 0.0);
  for (const double g : gradient) CHECK(std::fabs(g) < 1.0);
}

TEST_CASE("relations of the fact sheet's embeddings have its values") {
  // Computed in double for S and T below, independently of any library.
  const std::vector<double> s{0, 0, 1, 0, 0, 2, 3, 1}, t{0, 1, 2, 0, 1, 1, 0, -1};
  std::vector<double> s1 = s, t1 = t;
  for (double& v : s1) v += 1.0;
  for (double& v : t1) v += 1.0;
  const Shape<2> shape{4, 2};
  CHECK(rkd_distance_loss<double>({s, shape}, {t, shape}) == Approx(0.05744093).margin(5e-9));
  CHECK(rkd_angle_loss<double>({s, shape}, {t, shape}) == Approx(0.09651434).margin(5e-9));
  CHECK(1.0 - cka_loss<double>({s, shape}, {t, shape}) == Approx(0.66441474).margin(5e-9));
  CHECK(similarity_preserving_loss<double>({s1, shape}, {t1, shape}) ==
        Approx(0.11432597).margin(5e-9));
}

TEST_CASE("losses of relations refuse what they cannot compare") {
  const Matrix<double> s(test::random_matrix(5, 3, 1).view()),
      other(test::random_matrix(4, 3, 1).view());
  Matrix<double> nan = s;
  nan(1, 1) = std::numeric_limits<double>::quiet_NaN();
  const Matrix<double> none({0, 3}), one({1, 3}), zeros({5, 3});
  Matrix<double> small({2, 2});
  for (const RelationCase<double>& c : relation_cases<double>()) {
    CAPTURE(c.name);
    CHECK_THROWS_AS(c.loss(s, other, {}), ShapeError);
    CHECK_THROWS_AS(c.loss(s, s, small), ShapeError);
    CHECK_THROWS_AS(c.loss(none, none, {}), ShapeError);
    CHECK_THROWS_AS(c.loss(s, nan, {}), NumericError);
    CHECK_THROWS_AS(c.loss(nan, s, {}), NumericError);
  }
  CHECK_THROWS_WITH(cka_loss<double>(one, one), ContainsSubstring("at least 2"));
  CHECK_THROWS_WITH(cka_loss<double>(zeros, s), ContainsSubstring("student are equal"));
  CHECK_THROWS_AS(correlation_congruence_loss<double>(s, s, {.order = 0}), ArgumentError);
}
