#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "pare/distillation/attention_transfer.hpp"
#include "pare/distillation/cosine.hpp"
#include "pare/distillation/feature_mse.hpp"
#include "pare/distillation/fsp.hpp"
#include "pare/distillation/hint.hpp"
#include "pare/distillation/nst.hpp"
#include "pare/distillation/pkd.hpp"
#include "pare/distillation/vid.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::DistillationOracle;
using test::error_of_largest;

namespace {

/// Maps (batch, channels, height, width) as rows (batch x positions, channels), and back.
template <class T>
Matrix<T> rows_of_maps(const Tensor<T, 4>& maps) {
  const Index positions = maps.extent(2) * maps.extent(3);
  Matrix<T> rows({maps.extent(0) * positions, maps.extent(1)});
  for (Index i = 0; i < rows.rows(); ++i)
    for (Index c = 0; c < rows.cols(); ++c)
      rows(i, c) = maps.data()[(i / positions * maps.extent(1) + c) * positions + i % positions];
  return rows;
}

template <class T, std::size_t Rank>
Matrix<T> flattened(const Tensor<T, Rank>& t, Index cols) {
  Matrix<T> m({t.size() / cols, cols});
  std::copy(t.begin(), t.end(), m.begin());
  return m;
}

Tensor<double, 4> random_maps(Shape<4> shape, std::uint64_t seed) {
  Tensor<double, 4> maps(shape);
  const Matrix<float> values = test::random_matrix(1, maps.size(), seed);
  std::copy(values.begin(), values.end(), maps.begin());
  return maps;
}

template <class T>
struct MapCase {
  const char* name;
  std::function<double(TensorView<const T, 4>, TensorView<const T, 4>, TensorView<T, 4>)> loss;
};
template <class T>
std::vector<MapCase<T>> map_cases() {
  const auto at = [](auto s, auto t, auto g) { return attention_transfer_loss<T>(s, t, {}, g); };
  return {{"at.same_size", at}, {"at.student_pooled", at}, {"nst", [](auto s, auto t, auto g) {
                                                              return nst_loss<T>(s, t, {}, g);
                                                            }}};
}

}  // namespace

TEMPLATE_TEST_CASE("losses of maps are the reference's", "", float, double) {
  using T = TestType;
  const DistillationOracle oracle;
  for (const MapCase<T>& c : map_cases<T>()) {
    CAPTURE(c.name);
    const auto s = oracle.input<T, 4>(c.name, "fs"), t = oracle.input<T, 4>(c.name, "ft");
    Tensor<T, 4> gradient(s.shape());
    const double tolerance = oracle.tolerance<T>(c.name);
    CHECK(c.loss(s, t, gradient) == Approx(oracle.loss(c.name)).epsilon(tolerance));
    CHECK(error_of_largest(gradient, oracle.gradient<4>(c.name, "fs")) <= tolerance);
  }
  const char* fsp = "fsp.pooled";
  const auto f1 = oracle.input<T, 4>(fsp, "f1"), f2 = oracle.input<T, 4>(fsp, "f2");
  Tensor<T, 4> d1(f1.shape()), d2(f2.shape());
  const double loss = fsp_loss<T>(f1, f2, oracle.input<T, 4>(fsp, "t1"),
                                  oracle.input<T, 4>(fsp, "t2"), {}, {d1, d2});
  CHECK(loss == Approx(oracle.loss(fsp)).epsilon(oracle.tolerance<T>(fsp)));
  CHECK(error_of_largest(d1, oracle.gradient<4>(fsp, "f1")) <= oracle.tolerance<T>(fsp));
  CHECK(error_of_largest(d2, oracle.gradient<4>(fsp, "f2")) <= oracle.tolerance<T>(fsp));
}

TEMPLATE_TEST_CASE("hints and their regressors are the reference's", "", float, double) {
  using T = TestType;
  const DistillationOracle oracle;
  const auto rows_gradient = [&](const char* name) {
    return rows_of_maps(oracle.gradient<4>(name, "fs"));
  };
  const auto tolerance = oracle.tolerance<T>("fitnets.plain");
  {
    const char* name = "fitnets.plain";
    const auto s = rows_of_maps(oracle.input<T, 4>(name, "fs"));
    const auto t = rows_of_maps(oracle.input<T, 4>(name, "ft"));
    Matrix<T> gradient(s.shape());
    CHECK(feature_mse_loss<T>(s, t, {}, gradient) == Approx(oracle.loss(name)).epsilon(tolerance));
    CHECK(error_of_largest(gradient, rows_gradient(name)) <= tolerance);
  }
  for (const char* name : {"fitnets.linear_regressor", "fitnets.conv_bn_relu_regressor"}) {
    CAPTURE(name);
    const bool is_full = std::string(name).find("conv") != std::string::npos;
    const auto s = rows_of_maps(oracle.input<T, 4>(name, "fs"));
    const auto t = rows_of_maps(oracle.input<T, 4>(name, "ft"));
    const auto weight = oracle.input<T>(name, "weight");
    Regressor<T> regressor{.weight = weight, .relu = is_full};
    Matrix<T> gradient(s.shape()), dw(weight.shape());
    Vector<T> bias, gamma, beta, db({5}), dgamma({5}), dbeta({5});
    RegressorGradients<T> gradients{.weight = dw};
    if (is_full) {
      bias = oracle.input<T, 1>(name, "bias");
      gamma = oracle.input<T, 1>(name, "gamma");
      beta = oracle.input<T, 1>(name, "beta");
      regressor.bias = bias, regressor.gamma = gamma, regressor.beta = beta;
      gradients.bias = db, gradients.gamma = dgamma, gradients.beta = dbeta;
    }
    CHECK(hint_loss<T>(s, t, regressor, {}, gradient, gradients) ==
          Approx(oracle.loss(name)).epsilon(tolerance));
    CHECK(error_of_largest(gradient, rows_gradient(name)) <= tolerance);
    CHECK(error_of_largest(dw, oracle.gradient(name, "weight")) <= tolerance);
    if (!is_full) continue;
    CHECK(error_of_largest(dgamma, oracle.gradient<1>(name, "gamma")) <= tolerance);
    CHECK(error_of_largest(dbeta, oracle.gradient<1>(name, "beta")) <= tolerance);
    // A norm takes away what a bias adds: its gradient is 0 but for rounding.
    for (const T g : db) CHECK(std::fabs(g) < 1e-7);
  }
}

TEMPLATE_TEST_CASE("VID is the reference's", "", float, double) {
  using T = TestType;
  const DistillationOracle oracle;
  const auto s = rows_of_maps(oracle.input<T, 4>("vid", "fs"));
  const auto t = rows_of_maps(oracle.input<T, 4>("vid", "ft"));
  const auto w1 = oracle.input<T>("vid", "w1"), w2 = oracle.input<T>("vid", "w2"),
             w3 = oracle.input<T>("vid", "w3");
  const auto rho = oracle.input<T, 1>("vid", "rho");
  const std::vector<Regressor<T>> regressors{
      {.weight = w1, .relu = true}, {.weight = w2, .relu = true}, {.weight = w3}};
  Matrix<T> gradient(s.shape()), d1(w1.shape()), d2(w2.shape()), d3(w3.shape());
  Vector<T> drho(rho.shape());
  const std::vector<RegressorGradients<T>> gradients{
      {.weight = d1}, {.weight = d2}, {.weight = d3}};
  const double tolerance = oracle.tolerance<T>("vid");
  CHECK(vid_loss<T>(s, t, regressors, rho, {}, gradient, {gradients, drho}) ==
        Approx(oracle.loss("vid")).epsilon(tolerance));
  CHECK(error_of_largest(gradient, rows_of_maps(oracle.gradient<4>("vid", "fs"))) <= tolerance);
  CHECK(error_of_largest(d1, oracle.gradient("vid", "w1")) <= tolerance);
  CHECK(error_of_largest(d2, oracle.gradient("vid", "w2")) <= tolerance);
  CHECK(error_of_largest(d3, oracle.gradient("vid", "w3")) <= tolerance);
  CHECK(error_of_largest(drho, oracle.gradient<1>("vid", "rho")) <= tolerance);
}

TEMPLATE_TEST_CASE("PKD and the cosine loss are the reference's", "", float, double) {
  using T = TestType;
  const DistillationOracle oracle;
  for (const bool normalized : {false, true}) {
    const std::string name = std::string("pkd.normalized_") + (normalized ? "true" : "false");
    CAPTURE(name);
    const auto s = flattened(oracle.input<T, 3>(name, "fs"), 6);
    const auto t = flattened(oracle.input<T, 3>(name, "ft"), 6);
    Matrix<T> gradient(s.shape());
    const double tolerance = oracle.tolerance<T>(name);
    CHECK(pkd_loss<T>(s, t, {.normalized = normalized}, gradient) ==
          Approx(oracle.loss(name)).epsilon(tolerance));
    CHECK(error_of_largest(gradient, flattened(oracle.gradient<3>(name, "fs"), 6)) <= tolerance);
  }
  const char* name = "textbrewer.cosine_masked";
  const auto s = flattened(oracle.input<T, 3>(name, "hs"), 6);
  const auto t = flattened(oracle.input<T, 3>(name, "ht"), 6);
  std::vector<double> weights;
  for (const Index kept : oracle.indices(name, "mask"))
    weights.push_back(static_cast<double>(kept));
  Matrix<T> gradient(s.shape());
  const double tolerance = oracle.tolerance<T>(name);
  CHECK(cosine_loss<T>(s, t, {.sample_weights = weights}, gradient) ==
        Approx(oracle.loss(name)).epsilon(tolerance));
  CHECK(error_of_largest(gradient, flattened(oracle.gradient<3>(name, "hs"), 6)) <= tolerance);
}

TEST_CASE("gradients of feature losses agree with central differences") {
  for (const auto& [student, teacher] : {std::pair<Shape<4>, Shape<4>>{{2, 3, 4, 5}, {2, 4, 4, 5}},
                                         {{1, 2, 7, 6}, {1, 3, 3, 4}},
                                         {{2, 2, 2, 3}, {2, 2, 5, 3}}}) {
    CAPTURE(student, teacher);
    const auto s = random_maps(student, 1), t = random_maps(teacher, 2);
    for (const MapCase<double>& c : map_cases<double>()) {
      CAPTURE(c.name);
      Tensor<double, 4> gradient(s.shape());
      (void)c.loss(s, t, gradient);
      const auto expected = test::central_differences(
          [&](const Tensor<double, 4>& x) { return c.loss(x, t, {}); }, s);
      CHECK(error_of_largest(gradient, expected) <= 1e-6);
    }
    Tensor<double, 4> gradient(s.shape());
    (void)attention_transfer_loss<double>(s, t, {.power = 3}, gradient);
    const auto expected = test::central_differences(
        [&](const Tensor<double, 4>& x) {
          return attention_transfer_loss<double>(x, t, {.power = 3});
        },
        s);
    CHECK(error_of_largest(gradient, expected) <= 1e-6);
  }
  const Matrix<double> s(test::random_matrix(5, 7, 1).view()),
      t(test::random_matrix(5, 7, 2).view());
  const std::vector<double> weights{1, 0, 2, 1, 0};
  for (const auto& loss :
       std::vector<std::function<double(MatrixView<const double>, MatrixView<double>)>>{
           [&](auto x, auto g) {
             return cosine_loss<double>(x, t, {.sample_weights = weights}, g);
           },
           [&](auto x, auto g) {
             return feature_mse_loss<double>(x, t, {.weight = 3, .sample_weights = weights}, g);
           },
           [&](auto x, auto g) { return pkd_loss<double>(x, t, {.sums_features = true}, g); },
           [&](auto x, auto g) {
             return pkd_loss<double>(x, t, {.common = {.weight = 2, .sample_weights = weights}}, g);
           }}) {
    Matrix<double> gradient(s.shape());
    (void)loss(s, gradient);
    const auto expected =
        test::central_differences([&](const Matrix<double>& x) { return loss(x, {}); }, s);
    CHECK(error_of_largest(gradient, expected) <= 1e-6);
  }
}

TEST_CASE("feature losses refuse what they cannot compare") {
  const auto maps = random_maps({2, 3, 4, 4}, 1), other = random_maps({3, 3, 4, 4}, 1);
  for (const MapCase<double>& c : map_cases<double>()) {
    CHECK_THROWS_AS(c.loss(maps, other, {}), ShapeError);
    Tensor<double, 4> nan = maps;
    nan.data()[5] = std::nan("");
    CHECK_THROWS_AS(c.loss(nan, maps, {}), NumericError);
  }
  CHECK_THROWS_AS(attention_transfer_loss<double>(maps, maps, {.power = 0.5}), ArgumentError);
  CHECK_THROWS_AS(fsp_loss<double>(maps, maps, maps, random_maps({2, 2, 4, 4}, 1)), ShapeError);
  CHECK_THROWS_AS(fsp_loss<double>(maps, random_maps({2, 3, 5, 5}, 1), maps, maps), ShapeError);
  const Matrix<double> s({4, 3}), t({4, 2}), weight({2, 4}), fits({2, 3});
  CHECK_THROWS_AS(hint_loss<double>(s, t, {.weight = weight}), ShapeError);
  CHECK_THROWS_AS(hint_loss<double>(s, s, {.weight = fits}), ShapeError);
  CHECK_THROWS_AS(hint_loss<double>(s, t, {.weight = fits, .bias = Vector<double>({3})}),
                  ShapeError);
  CHECK_THROWS_AS(cosine_loss<double>(s, t), ShapeError);
  CHECK_THROWS_AS(pkd_loss<double>(s, t), ShapeError);
  CHECK_THROWS_AS(feature_mse_loss<double>(s, t), ShapeError);
  CHECK(cosine_loss<double>(s, s) == 1.0);
}
