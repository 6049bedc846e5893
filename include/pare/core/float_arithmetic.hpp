#pragma once

#include <type_traits>

#include "pare/core/config.hpp"

/// Arithmetic that means what it says under -ffast-math and with contraction to fused multiply-adds
/// (g++'s default): those rewrite expressions by the laws of real numbers, x / s as x * (1 / s) and
/// (x + c) - c as x. Codes are decided by the last bit of a quotient, so wherever a quantizer's
/// bits depend on a rounding it goes through here.
namespace pare {

/// x, rounded and cut off from the expression that gave it: no rewriting reaches through.
template <class T>
[[nodiscard]] PARE_FORCE_INLINE constexpr T rounded(T x) noexcept {
  static_assert(std::is_floating_point_v<T>);
  if (!std::is_constant_evaluated()) PARE_OPAQUE(x);
  return x;
}

/// x / divisor rounded once. Each quotient has a divisor of its own in the eyes of the compiler:
/// there is no loop to hoist a reciprocal out of.
template <class T>
[[nodiscard]] PARE_FORCE_INLINE constexpr T quotient(T x, T divisor) noexcept {
  static_assert(std::is_floating_point_v<T>);
  if (!std::is_constant_evaluated()) PARE_OPAQUE_EACH_TIME(divisor);
  return rounded(x / divisor);
}

/// float32 quotients by one divisor, for loops: the products vectorize.
///
/// The product with the float64 reciprocal errs by less than 2^-51 of itself, and no quotient of
/// floats is as near as 2^-49 to halfway between two floats: rounded to float32 it is x / divisor,
/// bit by bit, unless the quotient is subnormal.
class Quotients {
 public:
  explicit Quotients(float divisor) noexcept
      : reciprocal_(rounded(1.0 / static_cast<double>(divisor))) {}
  [[nodiscard]] float operator()(float x) const noexcept {
    return static_cast<float>(static_cast<double>(x) * reciprocal_);
  }

 private:
  double reciprocal_;
};

}  // namespace pare
