#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <string_view>

#include "pare/core/error.hpp"
#include "pare/core/float16.hpp"
#include "pare/core/float_arithmetic.hpp"
#include "pare/core/index.hpp"

namespace pare {

/// How a scale is stored. Codes are always chosen with the scale after this rounding.
enum class ScaleType : std::uint8_t { f32, f16, bf16 };

[[nodiscard]] constexpr int bits(ScaleType type) noexcept {
  return type == ScaleType::f32 ? 32 : 16;
}

[[nodiscard]] constexpr std::string_view to_string(ScaleType type) noexcept {
  return type == ScaleType::f32 ? "f32" : type == ScaleType::f16 ? "f16" : "bf16";
}

/// `scale` rounded to the storage type: zero or infinity where it does not fit.
[[nodiscard]] constexpr float store_scale(float scale, ScaleType type) noexcept {
  switch (type) {
    case ScaleType::f16:
      return static_cast<float>(Float16(scale));
    case ScaleType::bf16:
      return static_cast<float>(BFloat16(scale));
    case ScaleType::f32:
      break;
  }
  return scale;
}

/// A stored scale that codes can be chosen with: positive and finite. Looks at the bits, for
/// -ffast-math believes in no infinity.
[[nodiscard]] constexpr bool is_usable_scale(float scale) noexcept {
  return std::bit_cast<std::uint32_t>(scale) - 1u < 0x7f7fffffu;
}

/// What a symmetric scale divides the largest magnitude by; tools differ. For b bits:
enum class SymmetricDenominator : std::uint8_t {
  automatic,    ///< `half_range` below 8 bits, `largest_code` at 8
  half_range,   ///< (2^b - 1) / 2, as GPTQ, PyTorch's observers and compressed-tensors
  largest_code  ///< 2^(b-1) - 1, as SmoothQuant, TensorRT and ONNX Runtime
};

/// The smallest positive Float16.
inline constexpr float smallest_f16_scale = 0x1p-24f;

/// What a scale becomes that its storage type would round to zero: only F16 has such scales.
enum class ScaleUnderflow : std::uint8_t {
  zero,  ///< 0, with which no code can be chosen: quantizers keep the matrix's scales in F32 then
  smallest  ///< the smallest positive number of the type, as files need that know only F16
};

/// How the parameters of a block follow from its range.
struct FitOptions {
  ScaleType scale_type = ScaleType::f32;
  SymmetricDenominator denominator = SymmetricDenominator::automatic;
  /// Formats with a zero point include 0 in the range (GPTQ, ONNX). Off, as AWQ does it: the
  /// width is then at least 1e-5 and values beyond the codes clip.
  bool extend_to_zero = true;
  ScaleUnderflow underflow = ScaleUnderflow::zero;
};

/// The smallest and largest value of a block.
struct Range {
  float lo = 0.0f;
  float hi = 0.0f;

  [[nodiscard]] constexpr float absmax() const noexcept { return hi > -lo ? hi : -lo; }
  [[nodiscard]] constexpr Range scaled(float factor) const noexcept {
    return {lo * factor, hi * factor};
  }
};

/// Range of `count` >= 1 finite values, `stride` elements apart.
[[nodiscard]] constexpr Range range_of(const float* values, Index count,
                                       Index stride = 1) noexcept {
  Range range{values[0], values[0]};
  for (Index i = 1; i < count; ++i) {
    const float v = values[i * stride];
    range.lo = v < range.lo ? v : range.lo;
    range.hi = v > range.hi ? v : range.hi;
  }
  return range;
}

/// The scale that maps `magnitude`, of a block's largest weight say, to the value `denominator`, as
/// stored. What a format's `fit` is made of.
///
/// Values    magnitude >= 0 and finite, denominator > 0
/// Edge      a zero block gets 1; a float32 quotient is kept within the normal numbers, so that
///           only the 16-bit types can give 0, unless `underflow` forbids it, or infinity: see
///           is_usable_scale
[[nodiscard]] constexpr float fit_scale(float magnitude, float denominator, ScaleType type,
                                        ScaleUnderflow underflow = ScaleUnderflow::zero) noexcept {
  if (std::bit_cast<std::uint32_t>(magnitude) << 1 == 0) return 1.0f;
  float scale = quotient(magnitude, denominator);
  if (scale < std::numeric_limits<float>::min()) scale = std::numeric_limits<float>::min();
  if (std::bit_cast<std::uint32_t>(scale) == 0x7f800000u) scale = std::numeric_limits<float>::max();
  const float stored = store_scale(scale, type);
  if (underflow == ScaleUnderflow::smallest && std::bit_cast<std::uint32_t>(stored) == 0)
    return smallest_f16_scale;  // BFloat16 has the exponents of float32: nothing becomes 0
  return stored;
}

}  // namespace pare
