#include <algorithm>
#include <cmath>
#include <limits>

#include "pare/formats/all.hpp"
#include "pare/kernels/matmul.hpp"
#include "pare/kernels/pack.hpp"
#include "support/catch.hpp"
#include "support/exact_product.hpp"
#include "support/random_matrix.hpp"
#include "support/random_quantized.hpp"

/// What lies at the edges of tiles: tokens, channels and columns that do not fill one, bias and
/// what is accumulated there, sums at the limit of their type. Every forced kernel, few formats.

using namespace pare;

namespace {

/// A column that every token has once: the weights of it are added to each result.
test::Factor with_column(const test::Factor& factor, auto&& value) {
  const Index cols = factor.values.cols();
  test::Factor wider({factor.values.rows(), cols + 1});
  for (Index i = 0; i < factor.values.rows(); ++i) {
    for (Index k = 0; k < cols; ++k) {
      wider.values(i, k) = factor.values(i, k);
      wider.magnitudes(i, k) = factor.magnitudes(i, k);
    }
    wider.values(i, cols) = value(i);
    wider.magnitudes(i, cols) = std::abs(value(i));
  }
  return wider;
}

/// Far larger than the products, and another one in every channel.
float bias_of(Index channel) { return 1000.0f + 16.0f * static_cast<float>(channel); }
constexpr float before = -200.0f;

test::Factor codes_factor(const QuantizedActivations& q) {
  test::Factor x({q.tokens(), q.cols()});
  for (Index t = 0; t < q.tokens(); ++t)
    for (Index k = 0; k < q.cols(); ++k) {
      const double scale = q.scale(t, q.group_of(k));
      x.values(t, k) = scale * (q.codes(t, k) - q.zero_point);
      x.magnitudes(t, k) = scale * (std::abs(q.codes(t, k)) + std::abs(q.zero_point));
    }
  return x;
}

struct Weights {
  Index rows, cols, group_size;
};
/// One channel past a panel and past a pair of them, groups that end in the middle of a unit.
constexpr Weights weights[] = {{17, 72, -1}, {33, 72, -1}, {50, 83, 24}, {1, 41, 40}};

/// Every size of tile, full and filled up.
constexpr Index token_counts[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
                                  14, 15, 16, 17, 18, 19, 24, 25, 31, 32, 33, 40, 65};

constexpr KernelName all_kernels[] = {
    KernelName::reference,  KernelName::portable,   KernelName::neon,
    KernelName::avx2,       KernelName::avxvnni,    KernelName::avx512,
    KernelName::avx512vnni, KernelName::avx512bf16, KernelName::amx};

/// Rows and columns after a result, as many as a tile has: they stay as they are.
constexpr Index margin = 2 * kernels::panel_channels;

void require_margin(const Matrix<float>& field, const Shape<2>& inside) {
  for (Index t = 0; t < field.rows(); ++t)
    for (Index n = t < inside[0] ? inside[1] : 0; n < field.cols(); ++n)
      if (field(t, n) != before) FAIL("written outside of y, at (" << t << ", " << n << ")");
}

/// False for a kernel that this CPU, or a product of this kind, does not have.
template <class Multiply>
bool runs(KernelName kernel, Multiply&& multiply) {
  if (!kernels::cpu_supports(kernel)) return false;
  try {
    multiply(Execution{.force = kernel});
  } catch (const ArgumentError&) {
    return false;
  }
  return true;
}

}  // namespace

TEMPLATE_TEST_CASE("every channel of every token has its bias and what was there", "[matmul]",
                   Int<4>, UInt<4>, Int<8>) {
  Random random(1);
  for (const Weights& shape : weights) {
    const auto q = test::random_quantized<TestType>(shape.rows, shape.cols, shape.group_size,
                                                    ScaleType::f16, random);
    const auto w = pack(q);
    Vector<float> bias({shape.rows});
    for (Index n = 0; n < shape.rows; ++n) bias[n] = bias_of(n);
    const test::Factor exact_w = with_column(
        test::weight_factor(q), [](Index n) { return double{bias_of(n)} + double{before}; });
    const auto one = [](Index) { return 1.0; };
    for (const Index tokens : token_counts) {
      const Matrix<float> x = test::random_matrix(tokens, shape.cols, random());
      const QuantizedActivations codes =
          quantize_activations(x, {.scale = 0.02f, .zero_point = 55});
      const test::ExactProduct floats(with_column(test::activation_factor(x), one), exact_w);
      const test::ExactProduct integers(with_column(codes_factor(codes), one), exact_w);
      for (const KernelName kernel : all_kernels) {
        CAPTURE(TestType::name, shape.rows, shape.cols, shape.group_size, tokens,
                to_string(kernel));
        Matrix<float> field({tokens + margin, shape.rows + margin});
        const MatrixView<float> y = field.view().slice(0, 0, tokens).slice(1, 0, shape.rows);
        const auto check = [&](const test::ExactProduct& exact, Index additions) {
          exact.check(y, additions);
          require_margin(field, y.shape());
        };
        const auto output = [&]() -> MatmulOutput {
          field.fill(before);
          return {w, y, {.bias = bias, .accumulate = true}};
        };
        if (runs(kernel, [&](const Execution& e) { matmul(x, {output()}, e); }))
          check(floats, shape.cols + q.groups() + 6);
        if (runs(kernel, [&](const Execution& e) { matmul(codes, {output()}, e); }))
          check(integers, 2 * q.groups() + 10);
        // Products of bf16 are off by 2^-8; a bias is not.
        if (runs(kernel, [&](const Execution& e) { matmul_bf16(x, {output()}, e); }))
          check(floats, Index{1} << 17);
      }
    }
  }
}

TEMPLATE_TEST_CASE("sums of as many columns as 32 bits hold, and of more, are exact", "[matmul]",
                   Int<8>, UInt<8>) {
  const bool largest_weight = GENERATE(false, true);
  const int activation = GENERATE(-128, 127);
  for (const Index cols : {Index{65536}, Index{131072}}) {
    QuantizedMatrix<TestType> q(2, cols, -1, ScaleType::f32);
    const auto code = from_stored<TestType>(largest_weight ? std::uint8_t{255} : std::uint8_t{0});
    for (Index i = 0; i < 2; ++i)
      for (Index k = 0; k < cols; ++k) q.codes()(i, k) = code;
    TestType::set_zero_point(q.parameters()(1, 0), 255);
    const auto w = pack(q);
    for (const Index tokens : {1, 17}) {
      QuantizedActivations x;
      x.codes = Matrix<std::int8_t>({tokens, cols});
      x.scales = Matrix<float>({tokens, 1});
      x.sums = Matrix<std::int32_t>({tokens, 1});
      x.codes.fill(static_cast<std::int8_t>(activation));
      x.scales.fill(1.0f);
      x.sums.fill(activation * static_cast<std::int32_t>(cols));
      for (const KernelName kernel : all_kernels) {
        CAPTURE(TestType::name, largest_weight, activation, cols, tokens, to_string(kernel));
        Matrix<float> y({tokens, 2});
        if (!runs(kernel, [&](const Execution& e) { matmul(x, w, y, e); })) continue;
        for (Index t = 0; t < tokens; ++t)
          for (Index i = 0; i < 2; ++i) {
            const double exact = double{q.value(i, 0)} * activation * static_cast<double>(cols);
            // A rounding for each piece of the sum.
            REQUIRE(std::abs(y(t, i) - exact) <= 4 * 0x1p-24 * std::abs(exact));
          }
      }
    }
  }
}

TEST_CASE("activations with a zero point subtract the sum of a ragged group", "[matmul]") {
  // All weights are 1 and all activations z: with the zero point z every result is exactly 0, so a
  // sum that counts one column too many or too few is seen whole.
  for (const Index cols : {1, 7, 33, 65, 100, 131})
    for (const Index group : {-1, 5, 32, 64}) {
      if (group > cols) continue;
      QuantizedMatrix<UInt<4>> q(18, cols, group, ScaleType::f16);
      for (Index i = 0; i < 18; ++i) {
        for (Index k = 0; k < cols; ++k) q.codes()(i, k) = 9;
        for (Index g = 0; g < q.groups(); ++g) q.parameters()(i, g) = {1.0f, 8};
      }
      const auto w = pack(q);
      for (const Index tokens : {1, 5, 19}) {
        const Matrix<float> x({tokens, cols});  // zeros: their codes are the zero point
        const QuantizedActivations codes =
            quantize_activations(x, {.scale = 0.5f, .zero_point = 55});
        for (const KernelName kernel : all_kernels) {
          CAPTURE(cols, group, tokens, to_string(kernel));
          Matrix<float> y({tokens, 18});
          y.fill(std::numeric_limits<float>::quiet_NaN());
          if (!runs(kernel, [&](const Execution& e) { matmul(codes, w, y, e); })) continue;
          REQUIRE(std::all_of(y.data(), y.data() + y.size(), [](float v) { return v == 0.0f; }));
        }
      }
    }
}
