#include "pare/kernels/quantized_activations.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/core/random.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

constexpr KernelName all_kernels[] = {KernelName::reference, KernelName::portable, KernelName::avx2,
                                      KernelName::avx512};

}  // namespace

TEST_CASE("dynamic codes are the nearest of each token's own scale", "[quantized_activations]") {
  Random random(1);
  for (const Index cols : {0, 1, 3, 15, 16, 17, 33, 200})
    for (const KernelName kernel : all_kernels) {
      if (!kernels::cpu_supports(kernel)) continue;
      CAPTURE(cols, to_string(kernel));
      Matrix<float> x = test::random_matrix(5, cols, random());
      for (Index j = 0; j < cols; ++j) {
        x(2, j) = 0.0f;                                      // a token of zeros
        x(3, j) = static_cast<float>(j % 255 - 127) / 2.0f;  // ties
        x(4, j) *= 1e-42f;                                   // subnormal
      }
      const QuantizedActivations q = quantize_activations(x, {}, {.force = kernel});
      for (Index t = 0; t < 5; ++t) {
        double absmax = 0.0;
        for (Index j = 0; j < cols; ++j) absmax = std::max(absmax, std::abs(double{x(t, j)}));
        const float scale = q.scale(t);
        if (absmax == 0.0) CHECK(scale == 1.0f);
        if (absmax > 1e-30) CHECK(scale == static_cast<float>(absmax) / 127.0f);
        std::int32_t sum = 0;
        for (Index j = 0; j < cols; ++j) {
          REQUIRE(q.codes(t, j) == static_cast<int>(std::nearbyint(x(t, j) / scale)));
          sum += q.codes(t, j);
        }
        REQUIRE(q.sums(t, 0) == sum);
      }
    }
}

TEST_CASE("static codes clip at the given parameters", "[quantized_activations]") {
  const std::vector<float> x{-100.0f, -1.0f, 0.0f, 0.5f, 1.5f, 100.0f};
  const MatrixView<const float> view(x.data(), {1, 6});
  const auto symmetric = quantize_activations(view, {.scale = 1.0f});
  const auto asymmetric = quantize_activations(view, {.scale = 1.0f, .zero_point = -100});
  const int symmetric_codes[] = {-100, -1, 0, 0, 2, 100};
  const int asymmetric_codes[] = {-128, -101, -100, -100, -98, 0};
  for (Index j = 0; j < 6; ++j) {
    CHECK(symmetric.codes(0, j) == symmetric_codes[j]);
    CHECK(asymmetric.codes(0, j) == asymmetric_codes[j]);
  }
  CHECK(quantize_activations(view, {.scale = 0.5f}).codes(0, 0) == -127);
  CHECK(dequantize(asymmetric)(0, 4) == 2.0f);
  CHECK(asymmetric.sums(0, 0) == -128 - 101 - 100 - 100 - 98 + 0);
}

TEST_CASE("each group of columns is quantized by itself", "[quantized_activations]") {
  Random random(3);
  for (const Index cols : {1, 31, 64, 130, 300})
    for (const Index group_size : {1, 16, 32, 64, 100, 500})
      for (const KernelName kernel : all_kernels) {
        if (!kernels::cpu_supports(kernel)) continue;
        CAPTURE(cols, group_size, to_string(kernel));
        const Matrix<float> x = test::random_matrix(3, cols, random());
        const auto q = quantize_activations(x, {.group_size = group_size}, {.force = kernel});
        const Matrix<float> values = dequantize(q);
        REQUIRE(q.groups() == ceil_div(cols, group_size));
        REQUIRE(q.sums.shape() == q.scales.shape());
        for (Index g = 0; g < q.groups(); ++g) {
          const Index begin = g * group_size, count = std::min(group_size, cols - begin);
          const auto part = quantize_activations(x.view().slice(1, begin, count));
          REQUIRE(Matrix<std::int8_t>(q.codes.view().slice(1, begin, count)) == part.codes);
          REQUIRE(Matrix<float>(q.scales.view().slice(1, g, 1)) == part.scales);
          REQUIRE(Matrix<std::int32_t>(q.sums.view().slice(1, g, 1)) == part.sums);
          REQUIRE(Matrix<float>(values.view().slice(1, begin, count)) == dequantize(part));
        }
      }
}

TEST_CASE("codes are those of a division, however near a tie", "[quantized_activations]") {
  Random random(4);
  std::vector<float> scales{0x1p-99f, 0x1.fffffep-99f, 0x1p125f,
                            1.0f,     0x1.fffffep0f,   0x1.000002p0f};
  for (int i = 0; i < 300; ++i) {
    scales.push_back(std::ldexp(1.0f + random.uniform(), static_cast<int>(random.below(40)) - 20));
    // Products with these leave a tie's neighbourhood by the least possible remainder.
    const int bits = 17 + static_cast<int>(random.below(7));
    const auto high = static_cast<float>((1u << 23 | random.below(1u << 23)) >> bits << bits);
    for (const float low : {-3.0f, -1.0f, 1.0f, 3.0f}) scales.push_back((high + low) * 0x1p-30f);
  }
  // Beyond them division is exact too, and takes another path.
  scales.insert(scales.end(), {0x1.fffffep-100f, 1e-38f, 0x1.000002p125f, 1e38f});
  std::vector<float> x;
  for (const float scale : scales) {
    x.clear();
    for (int k = -129; k <= 128; ++k) {
      float value = (static_cast<float>(k) + 0.5f) * scale;
      if (!std::isfinite(value)) continue;
      for (int step = 0; step < 3; ++step) value = std::nextafter(value, -INFINITY);
      for (int step = 0; step < 7; ++step, value = std::nextafter(value, INFINITY))
        if (std::isfinite(value)) x.push_back(value);
    }
    for (const float value : {3.4e38f, -3.4e38f, 1e-45f, -1e-45f, 0.0f, -0.0f}) x.push_back(value);
    const MatrixView<const float> view(x.data(), {1, static_cast<Index>(x.size())});
    for (const std::int32_t zero_point : {0, -128, 127}) {
      const ActivationOptions options{.scale = scale, .zero_point = zero_point};
      const auto expected = quantize_activations(view, options, {.force = KernelName::reference});
      for (const KernelName kernel : {KernelName::avx2, KernelName::avx512}) {
        if (!kernels::cpu_supports(kernel)) continue;
        const auto q = quantize_activations(view, options, {.force = kernel});
        CAPTURE(scale, zero_point, to_string(kernel));
        REQUIRE(q.codes == expected.codes);
        REQUIRE(q.sums == expected.sums);
      }
    }
    // The dynamic path, whose scale is a given one when the largest value is 127 times that.
    std::erase_if(x, [&](float value) { return std::abs(value) > 127.0f * scale; });
    x.push_back(127.0f * scale);
    if (!std::isfinite(x.back())) continue;
    const MatrixView<const float> inside(x.data(), {1, static_cast<Index>(x.size())});
    const auto expected = quantize_activations(inside, {}, {.force = KernelName::reference});
    for (const KernelName kernel : {KernelName::avx2, KernelName::avx512})
      if (kernels::cpu_supports(kernel))
        REQUIRE(quantize_activations(inside, {}, {.force = kernel}).codes == expected.codes);
  }
}

TEST_CASE("activations are quantized into memory that fits", "[quantized_activations]") {
  const Matrix<float> x = test::random_matrix(4, 70), other = test::random_matrix(4, 70, 9);
  const ActivationOptions options{.group_size = 32};
  QuantizedActivations q;
  quantize_activations(x, options, {}, q);
  const void* const memory[] = {q.codes.data(), q.scales.data(), q.sums.data()};
  quantize_activations(other, options, {}, q);
  CHECK(memory[0] == q.codes.data());
  CHECK(memory[1] == q.scales.data());
  CHECK(memory[2] == q.sums.data());
  const auto fresh = quantize_activations(other, options);
  CHECK(q.codes == fresh.codes);
  CHECK(q.scales == fresh.scales);
  CHECK(q.sums == fresh.sums);
  quantize_activations(x.view().slice(1, 0, 10), {.scale = 0.1f, .zero_point = 3}, {}, q);
  CHECK(q.codes.shape() == Shape<2>{4, 10});
  CHECK(q.groups() == 1);
  CHECK(q.group_size == -1);
  CHECK(q.zero_point == 3);
}

TEST_CASE("rows are gathered in any order", "[quantized_activations]") {
  Random random(5);
  for (const Index count : {0, 1, 15, 16, 17, 50}) {
    const Matrix<float> x = test::random_matrix(1, 40, random());
    std::vector<std::int32_t> order;
    for (Index i = 0; i < count; ++i) order.push_back(static_cast<std::int32_t>(random.below(40)));
    for (const KernelName kernel : all_kernels) {
      if (!kernels::cpu_supports(kernel)) continue;
      std::vector<float> out(static_cast<std::size_t>(count) + 1, -7.0f);
      kernels::activation_kernel(kernel).gather(x.data(), order.data(), count, out.data());
      for (std::size_t i = 0; i < order.size(); ++i) REQUIRE(out[i] == x(0, order[i]));
      CHECK(out.back() == -7.0f);
    }
  }
}

TEST_CASE("kernels, threads and strides do not change a bit", "[quantized_activations]") {
  Random random(2);
  Matrix<float> x = test::random_matrix(7, 83, random());
  // Quotients at and beside ties, which a product with the reciprocal would round differently.
  for (Index j = 0; j < 83; ++j) x(3, j) = (static_cast<float>(j) - 40.5f) * 0.3f;
  for (const ActivationOptions& options : {ActivationOptions{}, ActivationOptions{.group_size = 32},
                                           ActivationOptions{.scale = 0.3f, .zero_point = 17}}) {
    const auto expected = quantize_activations(x, options, {.force = KernelName::reference});
    for (const KernelName kernel : all_kernels) {
      if (!kernels::cpu_supports(kernel)) continue;
      CHECK(quantize_activations(x, options, {.force = kernel}).codes == expected.codes);
    }
    const auto threaded = quantize_activations(x, options, {.parallel_for = OpenMpFor(3)});
    CHECK(threaded.codes == expected.codes);
    CHECK(threaded.scales == expected.scales);
  }
  Matrix<float> transposed({83, 7});
  copy(x.view(), transposed.view().transposed());
  CHECK(quantize_activations(transposed.view().transposed()).codes ==
        quantize_activations(x).codes);
}

TEST_CASE("bad activations and options are refused", "[quantized_activations]") {
  Matrix<float> x({3, 40});
  for (const KernelName kernel : all_kernels) {
    if (!kernels::cpu_supports(kernel)) continue;
    x(1, 37) = std::numeric_limits<float>::quiet_NaN();
    CHECK_THROWS_AS(quantize_activations(x, {}, {.force = kernel}), NumericError);
    CHECK_THROWS_WITH(quantize_activations(x, {.scale = 1.0f}, {.force = kernel}),
                      Catch::Contains("NaN at [1, 37]"));
    x(1, 37) = 0.0f;
  }
  CHECK_THROWS_AS(quantize_activations(x, {.scale = 0.0f}), ArgumentError);
  CHECK_THROWS_AS(quantize_activations(x, {.scale = 1.0f, .zero_point = 128}), ArgumentError);
  CHECK_THROWS_AS(quantize_activations(x, {.zero_point = 1}), ArgumentError);
  CHECK_THROWS_AS(quantize_activations(x, {.group_size = 0}), ArgumentError);
  CHECK_THROWS_AS(quantize_activations(x, {.group_size = -2}), ArgumentError);
  CHECK_THROWS_AS(quantize_activations(x, {.scale = 1.0f, .group_size = 8}), ArgumentError);
  CHECK_THROWS_AS(quantize_activations(x, {}, {.force = KernelName::avx512vnni}), ArgumentError);
}
