#pragma once

#include <cstdint>

#include "pare/formats/scale.hpp"

namespace pare {

/// How the quotient of a value and the scale is formed; near ties the two give different codes.
enum class QuotientPolicy : std::uint8_t {
  reciprocal,  ///< x * (1 / scale), as PyTorch
  divide       ///< x / scale, as every weight quantizer here: training sees the codes that ship
};

namespace kernels {

/// Whether what is written stays in the caches or goes past them.
enum class Store : std::uint8_t { cached, streaming };

/// code = clip(round_half_even(x / scale) + zero_point, lo, hi)
///
/// Values    zero_point and codes in [-128, 255]
struct EncodeParameters {
  float scale;
  std::int32_t zero_point, lo, hi;
};

/// value = scale * (code - zero_point)
struct DecodeParameters {
  float scale;
  std::int32_t zero_point;
  bool is_signed;  ///< a byte is a code in [-128, 127], else in [0, 255]
};

/// y = scale * clip(round_half_even(quotient(x, scale)), lo, hi)
///
/// Values    |lo| and |hi| at most 2^21
struct FakeParameters {
  float scale;
  std::int32_t lo, hi;
  QuotientPolicy quotient;
};

/// What an implementation of the elementwise operations supplies, on memory without gaps; x is
/// finite where nothing else is said. All of them give the same bits. Other threads see streaming
/// stores after finish_streaming().
struct ElementwiseKernel {
  /// The largest magnitude; NaN or infinity when an element is one.
  float (*absmax)(const float* x, Index count) noexcept;
  /// Smallest and largest of count >= 1 values; two NaN when an element is not finite. Of zeros
  /// the sign is unspecified.
  Range (*range)(const float* x, Index count) noexcept;
  void (*encode)(const float* x, Index count, const EncodeParameters&, Store,
                 std::uint8_t* codes) noexcept;
  void (*decode)(const std::uint8_t* codes, Index count, const DecodeParameters&, Store,
                 float* y) noexcept;
  /// Returns whether all x are finite; y means nothing where they are not. y may be x.
  bool (*fake_quantize)(const float* x, Index count, const FakeParameters&, Store,
                        float* y) noexcept;
};

}  // namespace kernels

}  // namespace pare
