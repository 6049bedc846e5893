#include "pare/quantization/obq.hpp"

#include <cmath>
#include <limits>

#include "pare/core/parallel_openmp.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/nf4.hpp"
#include "pare/formats/uint.hpp"
#include "pare/quantization/gptq.hpp"
#include "support/catch.hpp"
#include "support/pruned_layer.hpp"
#include "support/pruning_oracle.hpp"

using namespace pare;
using test::CorrelatedLayer;
using test::hessian_loss;

namespace {

/// A small layer with correlated inputs of one size.
struct SmallLayer {
  Matrix<float> w;
  Hessian h{48};

  explicit SmallLayer(std::uint64_t seed) : w(test::random_matrix(6, 48, 100 + seed)) {
    Matrix<float> x = test::random_matrix(200, 48, 200 + seed);
    gemm(0.5f, test::random_matrix(200, 24, 300 + seed), test::random_matrix(24, 48, 400 + seed),
         x);
    h.add(x);
  }
};

}  // namespace

TEST_CASE("obq agrees with the authors' code") {
  const test::PruningOracle oracle;
  const Matrix<float> w = oracle.matrix("obc.weight");
  const Hessian h = Hessian::from_matrix(oracle.matrix("obc.hessian").view(), 5);
  ObqReport report;
  const auto q = obq<UInt<3>>(w, h, {.report = &report});
  const Matrix<float> found = dequantize(q), expected = oracle.matrix("obc.obq3.result");
  const double loss = oracle.meta("obc.obq3")["loss"];
  Index differ = 0;
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j)
      differ += std::fabs(found(i, j) - expected(i, j)) > 0.01f * q.parameters()(i, 0).scale;
  CHECK(differ == 0);
  CHECK(hessian_loss(w, found, h.matrix()) == Approx(loss).epsilon(1e-4));
  CHECK(report.dead_inputs == 1);
}

TEMPLATE_TEST_CASE("obq loses as much as its steps cost, in integer formats less than gptq", "",
                   Int<3>, UInt<4>, NF4) {
  double of_obq = 0.0, of_gptq = 0.0;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const SmallLayer layer(seed);
    const Matrix<double> h = layer.h.matrix();
    ObqReport report;
    const auto q =
        obq<TestType>(layer.w, layer.h, {.quantize = {.group_size = 16}, .report = &report});
    const double loss = hessian_loss(layer.w, dequantize(q), h);
    CHECK(report.damping == 0.0);
    CHECK(report.loss == Approx(loss).epsilon(1e-4));
    of_obq += loss;
    const GptqOptions options{.group_size = 16, .damping = 0.0, .static_groups = true};
    of_gptq += hessian_loss(layer.w, dequantize(gptq<TestType>(layer.w, layer.h, options)), h);
  }
  CAPTURE(of_obq, of_gptq);
  CHECK(of_obq < (TestType::is_integer ? 1.0 : 1.1) * of_gptq);
}

TEST_CASE("where inputs do not correlate, obq rounds to nearest") {
  const Matrix<float> w = test::random_matrix(5, 20);
  Matrix<double> diagonal({20, 20});
  for (Index j = 0; j < 20; ++j) diagonal(j, j) = 1.0 + static_cast<double>(j % 3);
  const auto nearest = quantize<Int<4>>(w);
  CHECK(dequantize(obq<Int<4>>(w, Hessian::from_matrix(diagonal, 9))) == dequantize(nearest));
}

TEST_CASE("obq keeps parameters, zeroes dead inputs, and is the same for any number of threads") {
  CorrelatedLayer layer(9, 40, 200, 24, {3, 17});
  auto q = quantize<Int<4>>(layer.w, {.blocks = BlockShape::tiles(4, 8)});
  const auto parameters = Matrix<Int<4>::Parameters>(q.parameters());
  obq(layer.w, layer.h, q);
  for (Index i = 0; i < 9; ++i) {
    for (Index g = 0; g < q.groups(); ++g) CHECK(q.parameters()(i, g) == parameters(i, g));
    for (const Index j : {3, 17}) CHECK(q.value(i, j) == 0.0f);
  }
  auto again = quantize<Int<4>>(layer.w, {.blocks = BlockShape::tiles(4, 8)});
  obq(layer.w, layer.h, again, {}, {.parallel_for = OpenMpFor(3)});
  CHECK(dequantize(again) == dequantize(q));
}

TEST_CASE("obq refuses what it cannot quantize") {
  CorrelatedLayer layer(4, 16);
  CHECK_THROWS_AS(obq<Int<4>>(layer.w, Hessian(15)), ShapeError);
  auto small = quantize<Int<4>>(test::random_matrix(4, 15));
  CHECK_THROWS_AS(obq(layer.w, layer.h, small), ShapeError);
  CHECK_THROWS_AS(obq<Int<4>>(layer.w, layer.h, {.damping = -1.0}), ArgumentError);
  CHECK_THROWS_AS(obq<Int<4>>(Matrix<float>({1, 1025}), Hessian(1025)), ArgumentError);
  auto q = quantize<Int<4>>(layer.w);
  layer.w(2, 3) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(obq(layer.w, layer.h, q), NumericError);
}
