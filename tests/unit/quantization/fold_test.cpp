#include "pare/quantization/fold.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

Vector<float> some_scales(Index count, std::uint64_t seed) {
  Random random(seed);
  Vector<float> scales({count});
  for (Index c = 0; c < count; ++c) scales[c] = std::exp2(random.uniform(-4.0f, 4.0f));
  return scales;
}

/// max |x Wᵀ - y| / max |y| with y = x0 W0ᵀ in double.
double output_change(const Matrix<float>& x0, const Matrix<float>& w0, const Matrix<float>& x,
                     const Matrix<float>& w) {
  double change = 0.0, largest = 0.0;
  for (Index t = 0; t < x0.rows(); ++t)
    for (Index i = 0; i < w0.rows(); ++i) {
      double before = 0.0, after = 0.0;
      for (Index c = 0; c < w0.cols(); ++c) {
        before += static_cast<double>(x0(t, c)) * static_cast<double>(w0(i, c));
        after += static_cast<double>(x(t, c)) * static_cast<double>(w(i, c));
      }
      change = std::max(change, std::fabs(after - before));
      largest = std::max(largest, std::fabs(before));
    }
  return change / largest;
}

}  // namespace

TEST_CASE("folding scales into columns and out of the input leaves the output alone") {
  for (const Index channels : {1, 3, 17, 33, 256}) {
    CAPTURE(channels);
    const Matrix<float> x = test::random_matrix(5, channels, 1),
                        w = test::random_matrix(7, channels, 2);
    const Vector<float> scales = some_scales(channels, 3);
    Matrix<float> scaled = w, divided = x;
    fold_into_columns(scaled, scales);
    for (Index t = 0; t < x.rows(); ++t) fold_into_vector(divided.row(t), scales);
    CHECK(output_change(x, w, divided, scaled) < 1e-5);
  }
}

TEST_CASE("folding into the rows of a linear layer and its bias divides what it puts out") {
  const Index channels = 9;
  Matrix<float> previous = test::random_matrix(channels, 4, 1);
  Vector<float> bias({channels});
  for (Index c = 0; c < channels; ++c) bias[c] = static_cast<float>(c) - 3.5f;
  const Matrix<float> previous_before = previous;
  const Vector<float> bias_before = bias, scales = some_scales(channels, 2);
  fold_into_rows(previous, scales);
  fold_into_vector(bias, scales);
  for (Index c = 0; c < channels; ++c) {
    CHECK(bias[c] == static_cast<float>(static_cast<double>(bias_before[c]) / scales[c]));
    for (Index j = 0; j < 4; ++j)
      CHECK(previous(c, j) ==
            static_cast<float>(static_cast<double>(previous_before(c, j)) / scales[c]));
  }
}

TEST_CASE("fewer scales than rows change the last rows only") {
  Matrix<float> previous({5, 2});
  previous.fill(6.0f);
  Vector<float> bias({5});
  bias.fill(6.0f);
  const std::vector<float> scales{2.0f, 3.0f};
  fold_into_rows(previous, scales);
  fold_into_vector(bias, scales);
  const float expected[] = {6.0f, 6.0f, 6.0f, 3.0f, 2.0f};
  for (Index i = 0; i < 5; ++i) {
    CHECK(previous(i, 0) == expected[i]);
    CHECK(previous(i, 1) == expected[i]);
    CHECK(bias[i] == expected[i]);
  }
}

TEST_CASE("folding rounds once to the stored type") {
  // 1 + 2^-11 + 2^-30 is just above a tie of float16: rounding through float32 would round it
  // down to the tie and then to even, 1.
  CHECK(detail::round_once<Float16>(1.0 + 0x1p-11 + 0x1p-30) == 1.0f + 0x1p-10f);
  CHECK(detail::round_once<Float16>(1.0 + 0x1p-11 - 0x1p-30) == 1.0f);
  CHECK(detail::round_once<Float16>(1.0 + 0x1p-11) == 1.0f);
  CHECK(detail::round_once<Float16>(-(1.0 + 3 * 0x1p-11 - 0x1p-40)) == -(1.0f + 0x1p-10f));
  CHECK(detail::round_once<BFloat16>(1.0 + 0x1p-8 + 0x1p-40) == 1.0f + 0x1p-7f);
  CHECK(detail::round_once<BFloat16>(1.0 + 0x1p-8) == 1.0f);
  CHECK(detail::round_once<float>(1.0 + 0x1p-24 + 0x1p-50) == 1.0f + 0x1p-23f);
  CHECK(detail::round_once<Float16>(0.0) == 0.0f);
  CHECK(detail::round_once<Float16>(65519.0) == 65504.0f);
  CHECK(std::isinf(detail::round_once<Float16>(65520.0)));
  CHECK(std::isinf(detail::round_once<BFloat16>(1e300)));

  Matrix<float> w = test::random_matrix(3, 17, 5);
  fold_into_columns<BFloat16>(w, some_scales(17, 6));
  for (Index i = 0; i < w.rows(); ++i)
    for (Index c = 0; c < w.cols(); ++c) CHECK(w(i, c) == static_cast<float>(BFloat16(w(i, c))));
}

TEST_CASE("folding works on strided views") {
  Matrix<float> storage = test::random_matrix(6, 8, 1), expected = storage;
  const Vector<float> scales = some_scales(3, 2);
  auto part = storage.view().slice(0, 1, 3).slice(1, 2, 3).transposed();
  fold_into_columns(part, scales);
  for (Index i = 0; i < 3; ++i)
    for (Index j = 0; j < 3; ++j) expected(1 + i, 2 + j) *= scales[i];
  CHECK(storage == expected);
}

TEST_CASE("folding refuses bad scales and overflow, and then changes nothing") {
  Matrix<float> w({2, 2});
  w.fill(60000.0f);
  const Matrix<float> before = w;
  CHECK_THROWS_AS(fold_into_columns(w, std::vector<float>{1.0f}), ShapeError);
  CHECK_THROWS_AS(fold_into_rows(w, std::vector<float>{1.0f, 1.0f, 1.0f}), ShapeError);
  for (const float bad : {0.0f, -1.0f, NAN, INFINITY})
    CHECK_THROWS_AS(fold_into_columns(w, std::vector<float>{1.0f, bad}), ArgumentError);
  CHECK_THROWS_AS(fold_into_columns<Float16>(w, std::vector<float>{1.0f, 2.0f}), NumericError);
  CHECK_THROWS_AS(fold_into_rows<Float16>(w, std::vector<float>{1.0f, 0.5f}), NumericError);
  CHECK(w == before);
}
