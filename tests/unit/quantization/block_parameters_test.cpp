#include "pare/quantization/block_parameters.hpp"

#include <cmath>
#include <vector>

#include "pare/formats/all.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

template <class F>
double clip_error(const Matrix<float>& w, const typename F::Parameters& p, double exponent) {
  double sum = 0.0;
  for (Index j = 0; j < w.cols(); ++j)
    sum += std::pow(std::fabs(double{w(0, j)} - double{F::decode(F::encode(w(0, j), p), p)}),
                    exponent);
  return sum;
}

}  // namespace

TEST_CASE("scales are 16 bits wide for groups, 32 per row and at 8 bits", "[quantization]") {
  CHECK(default_scale_type<Int<4>>(64) == ScaleType::f16);
  CHECK(default_scale_type<NF4>(64) == ScaleType::f16);
  CHECK(default_scale_type<Int<4>>(-1) == ScaleType::f32);
  CHECK(default_scale_type<UInt<8>>(64) == ScaleType::f32);
}

TEST_CASE("min-max parameters follow from the extremes of the block", "[quantization]") {
  const std::vector<float> w{1, 99, -15, 99, 7.5f, 99};
  CHECK(block_parameters<Int<4>>(w.data(), 3, 2, {}, ScaleType::f32).scale == 2.0f);
  const auto u = block_parameters<UInt<4>>(w.data(), 3, 2, {}, ScaleType::f32);
  CHECK(u == UInt<4>::Parameters{1.5f, 10});
  CHECK(block_parameters<NF4>(w.data(), 1, 1, {}, ScaleType::f32).scale == 1.0f);
  CHECK(block_parameters<Int<4>>(
            w.data(), 3, 2, {.denominator = SymmetricDenominator::largest_code}, ScaleType::f32)
            .scale == 15.0f / 7.0f);
}

TEST_CASE("a format fitted to values sees all of them", "[quantization]") {
  const std::vector<float> w{1, 99, -15, 99, 8, 99};
  CHECK(block_parameters<Ternary>(w.data(), 3, 2, {}, ScaleType::f32).scale == 8.0f);
}

TEST_CASE("a block of zeros has scale 1", "[quantization]") {
  const std::vector<float> zeros(5);
  for (const RangeMethod method : {RangeMethod::min_max, RangeMethod::mse_clip})
    for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
      const auto p = block_parameters<F>(zeros.data(), 5, 1, {.method = method}, ScaleType::f16);
      CHECK(p.scale == 1.0f);
      CHECK(F::decode(F::encode(0.0f, p), p) == 0.0f);
    });
}

TEST_CASE("clipping takes the candidate with the least error", "[quantization]") {
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    for (const Index count : {1, 3, 17, 33}) {
      Matrix<float> w = test::random_matrix(1, count, 17 + static_cast<std::uint64_t>(count));
      w(0, 0) *= 4.0f;
      const RangeOptions options{.method = RangeMethod::mse_clip};
      const auto chosen = block_parameters<F>(w.data(), count, 1, options, ScaleType::f32);
      double least = 1e300;
      for (int i = 0; i < 80; ++i) {
        const float p = 1.0f - static_cast<float>(i) / 100.0f;
        const auto trial = F::fit(range_of(w.data(), count).scaled(p), {});
        least = std::fmin(least, clip_error<F>(w, trial, 2.4));
      }
      CAPTURE(F::name, count);
      CHECK(clip_error<F>(w, chosen, 2.4) <= least * (1 + 1e-6));
    }
  });
}

TEST_CASE("a scale that does not fit its type is handed back as it is", "[quantization]") {
  const std::vector<float> tiny{1e-9f}, huge{1e9f};
  for (const RangeMethod method : {RangeMethod::min_max, RangeMethod::mse_clip}) {
    const RangeOptions options{.method = method};
    CHECK(block_parameters<Int<4>>(tiny.data(), 1, 1, options, ScaleType::f16).scale == 0.0f);
    CHECK(std::isinf(block_parameters<Int<4>>(huge.data(), 1, 1, options, ScaleType::f16).scale));
    CHECK(is_usable_scale(
        block_parameters<Int<4>>(huge.data(), 1, 1, options, ScaleType::bf16).scale));
  }
}
