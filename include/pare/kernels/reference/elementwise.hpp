#pragma once

#include <limits>

#include "pare/core/finite.hpp"
#include "pare/formats/rounding.hpp"
#include "pare/kernels/contract/elementwise.hpp"
#include "pare/kernels/reference/quantize_activations.hpp"

namespace pare::kernels::reference {

inline Range range(const float* x, Index count) noexcept {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  return is_finite(absmax(x, count)) ? range_of(x, count) : Range{nan, nan};
}

inline void encode(const float* x, Index count, const EncodeParameters& p, Store,
                   std::uint8_t* codes) noexcept {
  for (Index i = 0; i < count; ++i)
    codes[i] =
        static_cast<std::uint8_t>(round_to_code(quotient(x[i], p.scale), p.zero_point, p.lo, p.hi));
}

inline void decode(const std::uint8_t* codes, Index count, const DecodeParameters& p, Store,
                   float* y) noexcept {
  for (Index i = 0; i < count; ++i) {
    const int code = p.is_signed ? static_cast<std::int8_t>(codes[i]) : codes[i];
    y[i] = p.scale * static_cast<float>(code - p.zero_point);
  }
}

inline bool fake_quantize(const float* x, Index count, const FakeParameters& p, Store,
                          float* y) noexcept {
  const bool divide = p.quotient == QuotientPolicy::divide;
  const float reciprocal = quotient(1.0f, p.scale);
  const bool finite = is_finite(absmax(x, count));
  for (Index i = 0; i < count; ++i) {
    const float level = divide ? quotient(x[i], p.scale) : rounded(x[i] * reciprocal);
    y[i] = static_cast<float>(round_to_code(level, 0, p.lo, p.hi)) * p.scale;
  }
  return finite;
}

inline constexpr ElementwiseKernel elementwise_kernel{&absmax, &range, &encode, &decode,
                                                      &fake_quantize};

}  // namespace pare::kernels::reference
