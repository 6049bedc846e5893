#include "pare/kernels/quantized_activations.hpp"

#include <cmath>
#include <limits>

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
        const float scale = q.scales[t];
        if (absmax == 0.0) CHECK(scale == 1.0f);
        if (absmax > 1e-30) CHECK(scale == static_cast<float>(absmax) / 127.0f);
        for (Index j = 0; j < cols; ++j)
          REQUIRE(q.codes(t, j) == static_cast<int>(std::nearbyint(x(t, j) / scale)));
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
}

TEST_CASE("kernels, threads and strides do not change a bit", "[quantized_activations]") {
  Random random(2);
  Matrix<float> x = test::random_matrix(7, 83, random());
  // Quotients at and beside ties, which a product with the reciprocal would round differently.
  for (Index j = 0; j < 83; ++j) x(3, j) = (static_cast<float>(j) - 40.5f) * 0.3f;
  for (const ActivationOptions& options :
       {ActivationOptions{}, ActivationOptions{.scale = 0.3f, .zero_point = 17}}) {
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
  CHECK_THROWS_AS(quantize_activations(x, {}, {.force = KernelName::avx512vnni}), ArgumentError);
}
