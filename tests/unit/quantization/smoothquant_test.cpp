#include "pare/quantization/smoothquant.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "pare/formats/int.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/quantization/fold.hpp"
#include "pare/quantization/quantize.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

Vector<float> column_absmax(MatrixView<const float> x) {
  Vector<float> absmax({x.cols()});
  for (Index t = 0; t < x.rows(); ++t)
    for (Index c = 0; c < x.cols(); ++c) absmax[c] = std::max(absmax[c], std::fabs(x(t, c)));
  return absmax;
}

Matrix<float> product(const Matrix<float>& x, const Matrix<float>& w) {
  Matrix<float> y({x.rows(), w.rows()});
  for (Index t = 0; t < x.rows(); ++t)
    for (Index i = 0; i < w.rows(); ++i) {
      double sum = 0.0;
      for (Index c = 0; c < x.cols(); ++c) sum += static_cast<double>(x(t, c)) * w(i, c);
      y(t, i) = static_cast<float>(sum);
    }
  return y;
}

/// Output of the layer with int8 weights per row and static int8 activations per tensor.
Matrix<float> w8a8_output(const Matrix<float>& x, const Matrix<float>& w) {
  const MatrixView<const float> all(x.data(), {1, x.size()});
  Matrix<float> xq = dequantize(quantize<Int<8>>(all));
  Matrix<float> same_shape({x.rows(), x.cols()});
  std::copy_n(xq.data(), xq.size(), same_shape.data());
  return product(same_shape, dequantize(quantize<Int<8>>(w)));
}

double mean_squared_difference(const Matrix<float>& a, const Matrix<float>& b) {
  double sum = 0.0;
  for (Index i = 0; i < a.size(); ++i)
    sum += std::pow(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]), 2);
  return sum / static_cast<double>(a.size());
}

}  // namespace

TEST_CASE("smoothing makes static W8A8 on outlier channels at least nine times as good") {
  const auto file = SafetensorsReader::open(std::string(PARE_TEST_DATA_DIR) + "/gptq.safetensors");
  Matrix<float> w = file.read_matrix("weight"), x = file.read_matrix("activations");
  const Matrix<float> exact = product(x, w);
  const double plain = mean_squared_difference(w8a8_output(x, w), exact);
  const Vector<float> scales = smoothquant_scales(column_absmax(x), w.view(), 0.5f);
  fold_into_columns(w, scales);
  for (Index t = 0; t < x.rows(); ++t) fold_into_vector(x.row(t), scales);
  CHECK(mean_squared_difference(product(x, w), exact) < 1e-8 * plain);
  const double smoothed = mean_squared_difference(w8a8_output(x, w), exact);
  CAPTURE(plain, smoothed, plain / smoothed);
  CHECK(plain >= 9.0 * smoothed);
}

TEST_CASE("smoothing scales follow the formula over all consumers") {
  const std::vector<float> absmax{4.0f, 0.25f, 9.0f};
  const std::vector<float> a{1.0f, -16.0f, 0.0f, 0.5f, 2.0f, 0.0f}, b{-4.0f, 1.0f, 0.0f};
  const MatrixView<const float> consumers[] = {{a, {2, 3}}, {b, {1, 3}}};
  const Vector<float> half = smoothquant_scales(absmax, consumers);
  CHECK(half[0] == 1.0f);                           // sqrt(4 / 4)
  CHECK(half[1] == 0.125f);                         // sqrt(0.25 / 16)
  CHECK(half[2] == Approx(std::sqrt(9.0 / 1e-5)));  // a zero column counts as 1e-5
  const Vector<float> all = smoothquant_scales(absmax, consumers, 1.0f);
  CHECK(all[0] == 4.0f);
  CHECK(all[1] == 0.25f);
  const Vector<float> none = smoothquant_scales(absmax, consumers, 0.0f);
  CHECK(none[0] == 0.25f);
  CHECK(none[1] == 0.0625f);
  CHECK(smoothquant_scales(absmax, consumers[1]) ==
        smoothquant_scales(absmax, std::span(consumers, 2).subspan(1)));
}

TEST_CASE("a channel that is never active is not scaled, and tiny ones stay above 1e-5") {
  const std::vector<float> absmax{0.0f, 1e-38f}, w{3.0f, 1000.0f};
  const Vector<float> scales = smoothquant_scales(absmax, MatrixView<const float>(w, {1, 2}));
  CHECK(scales[0] == 1.0f);
  CHECK(scales[1] == 1e-5f);
}

TEST_CASE("smoothing refuses shapes, exponents and values that make no sense") {
  const Matrix<float> w = test::random_matrix(3, 2);
  const std::vector<float> absmax{1.0f, 1.0f};
  CHECK_THROWS_AS(smoothquant_scales(std::vector<float>{1.0f}, w.view()), ShapeError);
  CHECK_THROWS_AS(smoothquant_scales(absmax, std::span<const MatrixView<const float>>()),
                  ArgumentError);
  for (const float alpha : {-0.1f, 1.1f, NAN})
    CHECK_THROWS_AS(smoothquant_scales(absmax, w.view(), alpha), ArgumentError);
  for (const float bad : {-1.0f, NAN, INFINITY})
    CHECK_THROWS_AS(smoothquant_scales(std::vector<float>{1.0f, bad}, w.view()), NumericError);
  Matrix<float> broken = w;
  broken(2, 1) = NAN;
  CHECK_THROWS_WITH(smoothquant_scales(absmax, broken.view()), "weight holds NaN at [2, 1]");
}

TEST_CASE("smoothing reads strided weights") {
  const Matrix<float> w = test::random_matrix(5, 17, 4);
  const test::Strided<float> strided(w);
  Vector<float> absmax({17});
  absmax.fill(2.0f);
  CHECK(smoothquant_scales(absmax, strided.view()) == smoothquant_scales(absmax, w.view()));
}
