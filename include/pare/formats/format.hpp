#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>

#include "pare/formats/scale.hpp"

namespace pare {

/// What a stored code means.
///
/// A format is a stateless type. A block of weights shares one `Parameters`; each weight is a
/// `Code`. On disk and in packed matrices a code is the unsigned number `code + code_offset` of
/// `code_bits` bits.
///
///     static constexpr std::string_view name;        // as on the command line
///     static constexpr int code_bits;                // 1..8
///     static constexpr int code_offset;              // 0 for unsigned codes
///     static constexpr bool is_integer;              // value == scale * (code - zero_point)
///     static constexpr bool has_zero_point;
///     using Code = ...;                              // std::int8_t or std::uint8_t
///     struct Parameters { float scale; ... };        // what a block stores, equality comparable
///     static Parameters fit(Range, const FitOptions&);
///     static Code encode(float value, const Parameters&);
///     static float decode(Code, const Parameters&);
///     static int zero_point(const Parameters&);      // 0 without one
///     static void set_zero_point(Parameters&, int);  // no effect without one
///
/// Two more are optional:
///
///     static constexpr int code_count;               // stored numbers in use: [0, code_count)
///     static Parameters fit_values(const float* values, Index count, Index stride,
///                                  const FitOptions&);  // when a block's range does not do
template <class F>
concept Format = requires(Range range, FitOptions options, typename F::Parameters parameters,
                          const typename F::Parameters& fixed, typename F::Code code, float value) {
  { F::name } -> std::convertible_to<std::string_view>;
  { F::code_bits } -> std::convertible_to<int>;
  { F::code_offset } -> std::convertible_to<int>;
  { F::is_integer } -> std::convertible_to<bool>;
  { F::has_zero_point } -> std::convertible_to<bool>;
  { parameters.scale } -> std::convertible_to<float>;
  { F::fit(range, options) } -> std::same_as<typename F::Parameters>;
  { F::encode(value, fixed) } -> std::same_as<typename F::Code>;
  { F::decode(code, fixed) } -> std::same_as<float>;
  { F::zero_point(fixed) } -> std::same_as<int>;
  F::set_zero_point(parameters, 0);
}
&&sizeof(typename F::Code) == 1 && F::code_bits >= 1 && F::code_bits <= 8;

/// How many codes there are; they are stored as the numbers below. All of `code_bits` bits unless
/// the format says otherwise.
template <Format F>
[[nodiscard]] constexpr int code_count() noexcept {
  if constexpr (requires { F::code_count; })
    return F::code_count;
  else
    return 1 << F::code_bits;
}

/// The unsigned number of `code_bits` bits that is stored for a code, and back.
template <Format F>
[[nodiscard]] constexpr std::uint8_t to_stored(typename F::Code code) noexcept {
  return static_cast<std::uint8_t>(code + F::code_offset);
}
template <Format F>
[[nodiscard]] constexpr typename F::Code from_stored(std::uint8_t stored) noexcept {
  return static_cast<typename F::Code>(stored - F::code_offset);
}

/// Bits a block's parameters take: the scale as stored, and a zero point of b bits.
template <Format F>
[[nodiscard]] constexpr int parameter_bits(ScaleType type) noexcept {
  return bits(type) + (F::has_zero_point ? F::code_bits : 0);
}

}  // namespace pare
