#pragma once

#include <concepts>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "pare/formats/scale.hpp"
#include "pare/formats/stored_parameters.hpp"

namespace pare {

/// What a format has where it says nothing else: unsigned codes that are no integers, without zero
/// point. Formats may derive from it.
struct FormatDefaults {
  static constexpr int code_offset = 0;
  static constexpr bool is_integer = false;
  static constexpr bool has_zero_point = false;
  using Code = std::uint8_t;

  template <class P>
  [[nodiscard]] static constexpr int zero_point(const P&) noexcept {
    return 0;
  }
  template <class P>
  static constexpr void set_zero_point(P&, int) noexcept {}
};

namespace detail {

/// One concept a member, so that a compiler's complaint names the one that is missing or wrong.
template <class F>
concept HasName = requires {
  { F::name } -> std::convertible_to<std::string_view>;
};
template <class F>
concept HasCodeBits = requires {
  { F::code_bits } -> std::convertible_to<int>;
};
template <class F>
concept HasCodeBitsFrom1To8 = HasCodeBits<F> && F::code_bits >= 1 && F::code_bits <= 8;
template <class F>
concept HasCodeOfOneByte = sizeof(typename F::Code) == 1 && std::is_integral_v<typename F::Code>;
template <class F>
concept HasCodeOffset = requires {
  { F::code_offset } -> std::convertible_to<int>;
};
template <class F>
concept HasIsInteger = requires {
  { F::is_integer } -> std::convertible_to<bool>;
};
template <class F>
concept HasHasZeroPoint = requires {
  { F::has_zero_point } -> std::convertible_to<bool>;
};
template <class F>
concept HasParameters = requires {
  typename F::Parameters;
};
template <class F>
concept HasTriviallyCopyableParameters =
    HasParameters<F> && std::is_trivially_copyable_v<typename F::Parameters>;
template <class F>
concept HasEqualityOfParameters =
    HasParameters<F> && std::equality_comparable<typename F::Parameters>;
template <class F>
concept HasScaleOrStored = HasParameters<F> &&
    (StoresOwnParameters<F> || requires(typename F::Parameters p) {
      { p.scale } -> std::convertible_to<float>;
    });
/// Whose parameters follow from those of the tensor, which come first.
template <class F>
concept HasFitTensor = HasParameters<F> && requires(Range range, FitOptions options) {
  { F::fit_tensor(range, options) } -> std::same_as<typename F::Parameters>;
};
template <class F>
concept HasFit = HasParameters<F> &&
    requires(Range range, FitOptions options, const typename F::Parameters& tensor) {
  requires HasFitTensor<F> || requires {
    { F::fit(range, options) } -> std::same_as<typename F::Parameters>;
  };
  requires !HasFitTensor<F> || requires {
    { F::fit(range, options, tensor) } -> std::same_as<typename F::Parameters>;
  };
};
template <class F>
concept HasEncode = HasParameters<F> && requires(float value, const typename F::Parameters& p) {
  { F::encode(value, p) } -> std::same_as<typename F::Code>;
};
template <class F>
concept HasDecode = HasParameters<F> &&
    requires(typename F::Code code, const typename F::Parameters& p) {
  { F::decode(code, p) } -> std::same_as<float>;
};
template <class F>
concept HasZeroPoint = HasParameters<F> && requires(const typename F::Parameters& p) {
  { F::zero_point(p) } -> std::same_as<int>;
};
template <class F>
concept HasSetZeroPoint = HasParameters<F> && requires(typename F::Parameters& p) {
  F::set_zero_point(p, 0);
};

}  // namespace detail

/// What a stored code means.
///
/// A format is a stateless type. A block of weights shares one `Parameters`; each weight is a
/// `Code`. On disk and in packed matrices a code is the unsigned number `code + code_offset` of
/// `code_bits` bits.
///
///     static constexpr std::string_view name;        // as on the command line; in files, too
///     static constexpr int code_bits;                // 1..8
///     static constexpr int code_offset;              // 0 for unsigned codes
///     static constexpr bool is_integer;              // value == scale * (code - zero_point)
///     static constexpr bool has_zero_point;
///     using Code = ...;                              // std::int8_t or std::uint8_t
///     struct Parameters { float scale; ... };        // trivially copyable, equality comparable
///     static Parameters fit(Range, const FitOptions&);
///     static Code encode(float value, const Parameters&);
///     static float decode(Code, const Parameters&);
///     static int zero_point(const Parameters&);      // 0 without one
///     static void set_zero_point(Parameters&, int);  // no effect without one
///
/// Derived from FormatDefaults it needs name, code_bits, Parameters, fit, encode and decode. More
/// are optional:
///
///     static constexpr int code_count;               // stored numbers in use: [0, code_count)
///     static Parameters fit_values(const float* values, Index count, Index stride,
///                                  const FitOptions&);  // when a block's range does not do
///     static constexpr auto stored = stored_as(...); // how Parameters are stored; unset: `scale`
///                                                    // as the ScaleType of the matrix and the
///                                                    // zero point in code_bits bits
///     static bool is_usable(const Parameters&);      // unset: whether `scale`, where there is
///                                                    // one, is positive and finite
///     static Parameters fit_tensor(Range, const FitOptions&);  // with tensor fields in `stored`:
///                                                    // sets them; `fit` and `fit_values` then
///                                                    // take them as a last argument
///
/// A format of the library has a line in formats/all.hpp; any other works the same wherever its
/// type is a template argument (quantize<F>, gptq<F>, pack, matmul, save_packed,
/// PackedFile::load<F> ...), but not where formats are known by name at run time. See
/// examples/format.cpp.
template <class F>
concept Format =
    detail::HasName<F> && detail::HasCodeBitsFrom1To8<F> && detail::HasCodeOfOneByte<F> &&
    detail::HasCodeOffset<F> && detail::HasIsInteger<F> && detail::HasHasZeroPoint<F> &&
    detail::HasTriviallyCopyableParameters<F> && detail::HasEqualityOfParameters<F> &&
    detail::HasScaleOrStored<F> && detail::HasFit<F> && detail::HasEncode<F> &&
    detail::HasDecode<F> && detail::HasZeroPoint<F> && detail::HasSetZeroPoint<F>;

/// Says in one line what a type lacks of a Format, where it is first used as one:
///
///     static_assert(pare::check_format<MyFormat>());
template <class F>
[[nodiscard]] consteval bool check_format() {
  static_assert(detail::HasName<F>, "a Format needs: static constexpr std::string_view name");
  static_assert(detail::HasCodeBits<F>, "a Format needs: static constexpr int code_bits");
  if constexpr (detail::HasCodeBits<F>)
    static_assert(detail::HasCodeBitsFrom1To8<F>, "a Format's code_bits are 1 to 8");
  static_assert(detail::HasCodeOfOneByte<F>,
                "a Format needs: using Code = std::uint8_t, or std::int8_t");
  static_assert(detail::HasCodeOffset<F>, "a Format needs: static constexpr int code_offset");
  static_assert(detail::HasIsInteger<F>, "a Format needs: static constexpr bool is_integer");
  static_assert(detail::HasHasZeroPoint<F>, "a Format needs: static constexpr bool has_zero_point");
  static_assert(detail::HasParameters<F>, "a Format needs: struct Parameters");
  if constexpr (detail::HasParameters<F>) {
    static_assert(detail::HasTriviallyCopyableParameters<F>,
                  "a Format's Parameters are trivially copyable");
    static_assert(detail::HasEqualityOfParameters<F>,
                  "a Format's Parameters need: friend bool operator==(const Parameters&, "
                  "const Parameters&) = default");
    static_assert(detail::HasScaleOrStored<F>,
                  "a Format needs: float Parameters::scale, or static constexpr auto stored = "
                  "pare::stored_as(...) that names the fields");
    if constexpr (detail::HasFitTensor<F>)
      static_assert(detail::HasFit<F>,
                    "a Format with fit_tensor needs: static Parameters fit(pare::Range, const "
                    "pare::FitOptions&, const Parameters& tensor)");
    else
      static_assert(detail::HasFit<F>,
                    "a Format needs: static Parameters fit(pare::Range, const pare::FitOptions&)");
    static_assert(detail::HasEncode<F>,
                  "a Format needs: static Code encode(float value, const Parameters&)");
    static_assert(detail::HasDecode<F>,
                  "a Format needs: static float decode(Code, const Parameters&)");
    static_assert(detail::HasZeroPoint<F>,
                  "a Format needs: static int zero_point(const Parameters&)");
    static_assert(detail::HasSetZeroPoint<F>,
                  "a Format needs: static void set_zero_point(Parameters&, int)");
  }
  return Format<F>;
}

/// A format some of whose parameters belong to the whole tensor.
template <class F>
concept HasTensorParameters = Format<F> && detail::HasFitTensor<F>;

/// Parameters of a block that is a whole tensor.
template <Format F>
[[nodiscard]] constexpr typename F::Parameters fit_whole(Range range, const FitOptions& options) {
  if constexpr (HasTensorParameters<F>)
    return F::fit(range, options, F::fit_tensor(range, options));
  else
    return F::fit(range, options);
}

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

/// Whether codes can be chosen with them.
template <Format F>
[[nodiscard]] constexpr bool is_usable(const typename F::Parameters& parameters) noexcept {
  if constexpr (requires { F::is_usable(parameters); })
    return F::is_usable(parameters);
  else if constexpr (requires { parameters.scale; })
    return is_usable_scale(static_cast<float>(parameters.scale));
  else
    return true;
}

/// Bits a block's parameters take: its own fields, or the scale as stored and a zero point of b
/// bits.
template <Format F>
[[nodiscard]] constexpr int parameter_bits(ScaleType type) noexcept {
  if constexpr (StoresOwnParameters<F>)
    return 8 * static_cast<int>(F::stored.bytes(FieldScope::block));
  else
    return bits(type) + (F::has_zero_point ? F::code_bits : 0);
}

/// Those of the whole tensor.
template <Format F>
[[nodiscard]] constexpr int tensor_parameter_bits() noexcept {
  if constexpr (StoresOwnParameters<F>)
    return 8 * static_cast<int>(F::stored.bytes(FieldScope::tensor));
  else
    return 0;
}

}  // namespace pare
