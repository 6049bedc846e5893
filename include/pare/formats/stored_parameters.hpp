#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "pare/core/float16.hpp"
#include "pare/core/float8.hpp"
#include "pare/core/index.hpp"

/// How a format's parameters are stored, where they are more than a scale in one of the types of
/// ScaleType and an integer zero point. In a format:
///
///     struct Parameters {
///       float scale = 1.0f, offset = 0.0f;
///       friend bool operator==(const Parameters&, const Parameters&) = default;
///     };
///     static constexpr auto stored = pare::stored_as(
///         pare::block_field("scales", &Parameters::scale, pare::FieldType::e8m0),
///         pare::block_field("offsets", &Parameters::offset, pare::FieldType::f16));
namespace pare {

/// What a field is on disk and in packed matrices.
enum class FieldType : std::uint8_t { f32, f16, bf16, e8m0, e4m3, u8, i8, i32 };

[[nodiscard]] constexpr int bits(FieldType type) noexcept {
  constexpr int all[] = {32, 16, 16, 8, 8, 8, 8, 32};
  return all[static_cast<int>(type)];
}

[[nodiscard]] constexpr std::string_view to_string(FieldType type) noexcept {
  constexpr std::string_view all[] = {"f32", "f16", "bf16", "e8m0", "e4m3", "u8", "i8", "i32"};
  return all[static_cast<int>(type)];
}

namespace detail {

template <class Visitor>
constexpr decltype(auto) with_field_type(FieldType type, Visitor&& f) {
  switch (type) {
    case FieldType::f16:
      return f(Float16{});
    case FieldType::bf16:
      return f(BFloat16{});
    case FieldType::e8m0:
      return f(E8M0{});
    case FieldType::e4m3:
      return f(E4M3{});
    case FieldType::u8:
      return f(std::uint8_t{});
    case FieldType::i8:
      return f(std::int8_t{});
    case FieldType::i32:
      return f(std::int32_t{});
    case FieldType::f32:
      break;
  }
  return f(float{});
}

/// Between what a member is and how it is stored; a number that an integer cannot hold becomes 0.
template <class Stored, class T>
[[nodiscard]] constexpr Stored store_as(T value) noexcept {
  if constexpr (std::is_class_v<Stored>) {
    return Stored(static_cast<float>(value));
  } else if constexpr (std::is_integral_v<Stored>) {
    const auto wide = static_cast<double>(value);
    const bool fits = wide >= static_cast<double>(std::numeric_limits<Stored>::min()) &&
                      wide <= static_cast<double>(std::numeric_limits<Stored>::max());
    return fits ? static_cast<Stored>(value) : Stored{0};
  } else {
    return static_cast<Stored>(value);
  }
}
template <class T, class Stored>
[[nodiscard]] constexpr T load_as(Stored stored) noexcept {
  if constexpr (std::is_class_v<Stored>)
    return static_cast<T>(static_cast<float>(stored));
  else
    return static_cast<T>(stored);
}

}  // namespace detail

/// `value` as it comes back from storage: what a format's `fit` rounds its parameters with, so that
/// codes are chosen with what ships.
template <class T>
[[nodiscard]] constexpr T as_stored(T value, FieldType type) noexcept {
  return detail::with_field_type(type, [&]<class Stored>(Stored) {
    return detail::load_as<T>(detail::store_as<Stored>(value));
  });
}

/// Whose parameter it is.
enum class FieldScope : std::uint8_t { block, tensor };

/// A member of Parameters: a float or an integer.
template <class P, class T>
requires(std::is_arithmetic_v<T>) struct ParameterField {
  std::string_view name;  ///< in files, a tensor's: "scales"
  T P::*member;
  FieldType type;
  FieldScope scope;

  /// Writes it to `to`, of bits(type) / 8 bytes. False when the type cannot hold it exactly.
  [[nodiscard]] bool store(const P& parameters, std::byte* to) const noexcept {
    return detail::with_field_type(type, [&]<class Stored>(Stored) {
      const T value = parameters.*member;
      const auto stored = detail::store_as<Stored>(value);
      std::memcpy(to, &stored, sizeof(stored));
      return detail::load_as<T>(stored) == value;
    });
  }
  void load(const std::byte* from, P& parameters) const noexcept {
    detail::with_field_type(type, [&]<class Stored>(Stored stored) {
      std::memcpy(&stored, from, sizeof(stored));
      parameters.*member = detail::load_as<T>(stored);
    });
  }
};

template <class P, class T>
[[nodiscard]] constexpr ParameterField<P, T> block_field(std::string_view name, T P::*member,
                                                         FieldType type) noexcept {
  return {name, member, type, FieldScope::block};
}
/// One for the whole tensor: equal in the Parameters of all its blocks, found by `fit_tensor`
/// before them, and stored once.
template <class P, class T>
[[nodiscard]] constexpr ParameterField<P, T> tensor_field(std::string_view name, T P::*member,
                                                          FieldType type) noexcept {
  return {name, member, type, FieldScope::tensor};
}

template <class... Fields>
struct StoredParameters {
  std::tuple<Fields...> fields;

  /// Calls f(field) for those of one scope, in order.
  template <class F>
  constexpr void for_each(FieldScope scope, F&& f) const {
    std::apply([&](const auto&... field) { ((field.scope == scope ? f(field) : void()), ...); },
               fields);
  }
  [[nodiscard]] constexpr Index bytes(FieldScope scope) const {
    Index sum = 0;
    for_each(scope, [&](const auto& field) { sum += bits(field.type) / 8; });
    return sum;
  }
};

template <class... Fields>
[[nodiscard]] constexpr StoredParameters<Fields...> stored_as(Fields... fields) noexcept {
  return {{fields...}};
}

/// A format that says itself how its parameters are stored.
template <class F>
concept StoresOwnParameters = requires {
  F::stored.bytes(FieldScope::block);
};

/// The fields of one scope as bytes without gaps, in order. False when a type cannot hold one.
template <StoresOwnParameters F>
[[nodiscard]] bool store_parameters(const typename F::Parameters& parameters, FieldScope scope,
                                    std::byte* to) noexcept {
  bool exact = true;
  F::stored.for_each(scope, [&](const auto& field) {
    exact = field.store(parameters, to) && exact;
    to += bits(field.type) / 8;
  });
  return exact;
}
template <StoresOwnParameters F>
void load_parameters(const std::byte* from, FieldScope scope,
                     typename F::Parameters& parameters) noexcept {
  F::stored.for_each(scope, [&](const auto& field) {
    field.load(from, parameters);
    from += bits(field.type) / 8;
  });
}

}  // namespace pare
