#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

#include "pare/core/float16.hpp"
#include "pare/formats/scale.hpp"

namespace pare {

/// Element types of safetensors files, in the order that files are sorted by.
enum class DType : std::uint8_t {
  BOOL,
  F4,
  F6_E2M3,
  F6_E3M2,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  F8_E4M3FNUZ,
  F8_E5M2FNUZ,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  C64,
  F64,
  I64,
  U64
};

namespace detail {

struct DTypeRow {
  std::string_view name;
  int bits;
};

inline constexpr std::array<DTypeRow, 22> dtypes{
    {{"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
     {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
     {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
     {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
     {"I64", 64},        {"U64", 64}}};
static_assert(dtypes[static_cast<std::size_t>(DType::U64)].name == "U64");

}  // namespace detail

[[nodiscard]] constexpr std::string_view to_string(DType dtype) noexcept {
  return detail::dtypes[static_cast<std::size_t>(dtype)].name;
}

/// Bits of one element: 4 and 6 for the types that are stored without gaps.
[[nodiscard]] constexpr int bits(DType dtype) noexcept {
  return detail::dtypes[static_cast<std::size_t>(dtype)].bits;
}

/// The type written as `name` in a file, if there is one.
[[nodiscard]] constexpr std::optional<DType> dtype_named(std::string_view name) noexcept {
  for (std::size_t i = 0; i < detail::dtypes.size(); ++i)
    if (detail::dtypes[i].name == name) return static_cast<DType>(i);
  return std::nullopt;
}

/// The type whose elements are `T` in memory.
template <class T>
[[nodiscard]] consteval DType dtype_of() noexcept {
  if constexpr (std::is_same_v<T, float>) return DType::F32;
  if constexpr (std::is_same_v<T, double>) return DType::F64;
  if constexpr (std::is_same_v<T, Float16>) return DType::F16;
  if constexpr (std::is_same_v<T, BFloat16>) return DType::BF16;
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    if constexpr (sizeof(T) == 1) return std::is_signed_v<T> ? DType::I8 : DType::U8;
    if constexpr (sizeof(T) == 2) return std::is_signed_v<T> ? DType::I16 : DType::U16;
    if constexpr (sizeof(T) == 4) return std::is_signed_v<T> ? DType::I32 : DType::U32;
    if constexpr (sizeof(T) == 8) return std::is_signed_v<T> ? DType::I64 : DType::U64;
  }
}

/// How files store scales of this type.
[[nodiscard]] constexpr DType dtype_of(ScaleType type) noexcept {
  return type == ScaleType::f32 ? DType::F32 : type == ScaleType::f16 ? DType::F16 : DType::BF16;
}

/// The scale type stored as `dtype`, if there is one.
[[nodiscard]] constexpr std::optional<ScaleType> scale_type_of(DType dtype) noexcept {
  for (const ScaleType type : {ScaleType::f32, ScaleType::f16, ScaleType::bf16})
    if (dtype_of(type) == dtype) return type;
  return std::nullopt;
}

}  // namespace pare
