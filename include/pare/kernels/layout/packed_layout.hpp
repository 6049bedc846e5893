#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "pare/formats/format.hpp"
#include "pare/formats/rounding.hpp"
#include "pare/kernels/layout/sparse_codes.hpp"

namespace pare::kernels {

/// Output channels that lie side by side in the lanes of a packed panel.
inline constexpr Index panel_channels = 16;

/// Some bits of every code of a unit: `width` bits from bit `low_bit` on.
struct Plane {
  int width, low_bit;
  /// Input channels in one vector of 64 bytes.
  [[nodiscard]] constexpr Index vector_columns() const noexcept { return 32 / width; }
};

/// Codes of b bits are cut into planes whose widths are powers of two: 7 = 4 + 2 + 1.
template <int Bits>
[[nodiscard]] constexpr auto code_planes() noexcept {
  constexpr auto count =
      static_cast<std::size_t>((Bits >> 3 & 1) + (Bits >> 2 & 1) + (Bits >> 1 & 1) + (Bits & 1));
  std::array<Plane, count> planes{};
  int low_bit = 0;
  std::size_t next = 0;
  for (int width = 8; width > 0; width /= 2)
    if (Bits & width) {
      planes[next++] = {width, low_bit};
      low_bit += width;
    }
  return planes;
}

/// How the codes of a panel lie in memory, the same for every CPU and all compiler flags.
///
/// A panel is 16 output channels; k, the input channel, runs in memory. Codes are stored unsigned
/// (code + code_offset) in units of `unit` consecutive k. A unit holds its planes one after the
/// other; a plane is vectors of sixteen 32-bit words, lane l belonging to channel l. In a vector
/// of a plane of w bits, byte j of a lane holds the bits of k = j, 4 + j, 8 + j ... from the lowest
/// bit on: a shift and a mask make sixteen times four bytes of consecutive k, which is an operand
/// of the 8-bit dot product instructions.
///
///     8 bits    [K/8][2][16]    k = 0..3, k = 4..7
///     4 bits    [K/8][1][16]    byte j: k = j in the low nibble, k = 4 + j in the high one
///     2 bits    [K/16][1][16]   byte j: k = j, 4 + j, 8 + j, 12 + j
///     3 bits    [K/32][3][16]   two vectors of the lower two bits, one of the highest bit
///
/// `Lookup`: values come from a table, else they are the codes counted from a center.
template <int Bits, bool Lookup>
struct PackedCodes {
  static constexpr int bits = Bits;
  static constexpr bool lookup = Lookup;
  static constexpr auto planes = code_planes<Bits>();
  static constexpr Index unit = std::max<Index>(8, planes.back().vector_columns());
  static constexpr Index words = unit * Bits / 32;
  static constexpr Index unit_words = words * panel_channels;
  static constexpr unsigned mask = (1u << Bits) - 1u;

  /// Vectors of a unit before those of a plane.
  [[nodiscard]] static constexpr Index first_vector(std::size_t plane) noexcept {
    Index vectors = 0;
    for (std::size_t p = 0; p < plane; ++p) vectors += unit / planes[p].vector_columns();
    return vectors;
  }
};
static_assert(PackedCodes<8, false>::unit_words * 4 == 128);
static_assert(PackedCodes<4, false>::unit_words * 4 == 64);
static_assert(PackedCodes<3, false>::unit_words * 4 == 3 * 64);
static_assert(PackedCodes<7, false>::unit == 32 && PackedCodes<7, false>::words == 7);

template <Format F>
using packed_codes = PackedCodes<F::code_bits, !F::is_integer>;

/// The stored code of lane `lane` at the unit's k-th input channel.
template <class Codes>
[[nodiscard]] constexpr unsigned load_code(const std::uint32_t* unit, Index k,
                                           Index lane) noexcept {
  unsigned code = 0;
  for (std::size_t p = 0; p < Codes::planes.size(); ++p) {
    const Plane plane = Codes::planes[p];
    const Index vector = Codes::first_vector(p) + k / plane.vector_columns();
    const Index shift = k % 4 * 8 + k % plane.vector_columns() / 4 * plane.width;
    code |= (unit[vector * panel_channels + lane] >> shift & ((1u << plane.width) - 1u))
            << plane.low_bit;
  }
  return code;
}

/// Sets the code of a unit that holds zeros there.
template <class Codes>
constexpr void store_code(std::uint32_t* unit, Index k, Index lane, unsigned code) noexcept {
  for (std::size_t p = 0; p < Codes::planes.size(); ++p) {
    const Plane plane = Codes::planes[p];
    const Index vector = Codes::first_vector(p) + k / plane.vector_columns();
    const Index shift = k % 4 * 8 + k % plane.vector_columns() / 4 * plane.width;
    unit[vector * panel_channels + lane] |= (code >> plane.low_bit & ((1u << plane.width) - 1u))
                                            << shift;
  }
}

namespace detail {

/// Whether a decoded value is the scale times a number of the code's, less the zero point: asked at
/// compile time, of codes spread over all, so formats whose `decode` is no constant say no.
template <class F>
[[nodiscard]] consteval bool decodes_by_table() {
  for (int stored = 0; stored < code_count<F>(); ++stored) {
    const auto code = from_stored<F>(static_cast<std::uint8_t>(stored));
    typename F::Parameters one{}, other{};
    one.scale = 1.0f;
    other.scale = 0.375f;
    const int zero_point = F::has_zero_point ? 1 << (F::code_bits - 1) : 0;
    F::set_zero_point(one, zero_point);
    F::set_zero_point(other, zero_point);
    if (F::decode(code, other) != 0.375f * F::decode(code, one)) return false;
    if (F::has_zero_point) {
      F::set_zero_point(other, 0);
      const float shift = static_cast<float>(zero_point);
      if (F::decode(code, other) != 0.375f * (F::decode(code, one) + shift)) return false;
    }
  }
  return true;
}

template <class F>
concept DecodesByTable = requires {
  requires std::bool_constant < decodes_by_table<F>()
  > ::value;
};

}  // namespace detail

/// A format that the kernels with tables multiply: integers and codebooks of 2 to 4 bits whose
/// parameters are a scale and a zero point as the library stores them. Others run the generic
/// kernel.
template <class F>
concept TableFormat = Format<F> && !StoresOwnParameters<F> && F::code_bits >= 2 &&
                      (F::is_integer || F::code_bits <= 4) && detail::DecodesByTable<F>;

/// The stored code whose value is 0, where there is no zero point.
template <Format F>
inline constexpr int code_center = F::has_zero_point ? 1 << (F::code_bits - 1) : F::code_offset;

namespace detail {

template <Format F>
[[nodiscard]] constexpr auto make_code_values() {
  constexpr std::size_t codes = std::size_t{1} << F::code_bits;
  std::array<float, std::max<std::size_t>(codes, 16)> values{};
  typename F::Parameters parameters{};
  parameters.scale = 1.0f;
  F::set_zero_point(parameters, code_center<F>);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = F::decode(from_stored<F>(static_cast<std::uint8_t>(i % codes)), parameters);
  return values;
}

}  // namespace detail

/// value = scale * (code_values[stored] - (zero_point - center)), the last term only with a zero
/// point. Short tables repeat up to 16 entries, so that a 4-bit index may carry foreign bits.
template <Format F>
inline constexpr auto code_values = detail::make_code_values<F>();

/// A format's values as 8-bit integers: value = factor * (operands[stored] - center), the unsigned
/// operand of dot product instructions. Integer formats are their own operands; a codebook of
/// multiples of its smallest magnitude is exact, others are rounded to a 127th of the largest.
struct IntegerCodebook {
  std::array<std::uint8_t, 16> operands{};
  int center = 0;
  float factor = 1.0f;
  bool exact = true;
};

namespace detail {

template <Format F>
[[nodiscard]] constexpr IntegerCodebook make_integer_codebook() {
  IntegerCodebook book;
  book.center = code_center<F>;
  if constexpr (!F::is_integer) {
    static_assert(F::code_bits <= 4, "byte permutations look up sixteen entries");
    float smallest = 0.0f, largest = 0.0f;
    for (const float value : code_values<F>) {
      const float magnitude = value < 0.0f ? -value : value;
      if (magnitude > 0.0f && (smallest == 0.0f || magnitude < smallest)) smallest = magnitude;
      if (magnitude > largest) largest = magnitude;
    }
    for (const float value : code_values<F>) {
      const float multiple = value / smallest;
      book.exact = book.exact && largest / smallest <= 127.0f &&
                   multiple == static_cast<float>(static_cast<int>(multiple));
    }
    book.factor = book.exact ? smallest : largest / 127.0f;
    book.center = 128;
    for (std::size_t i = 0; i < book.operands.size(); ++i)
      book.operands[i] = static_cast<std::uint8_t>(
          128 + round_to_code(code_values<F>[i] / book.factor, 0, -127, 127));
  }
  return book;
}

}  // namespace detail

template <Format F>
inline constexpr IntegerCodebook integer_codebook = detail::make_integer_codebook<F>();

/// What a kernel reads of 16 output channels.
struct PackedPanel {
  const std::uint32_t* codes = nullptr;       ///< [units][words][16]
  const std::byte* scales = nullptr;          ///< [groups][16] of scale_type
  const std::uint8_t* zero_points = nullptr;  ///< [groups][16], or null
  const float* values = nullptr;              ///< code_values of the format
  const std::uint8_t* operands = nullptr;     ///< those of its integer_codebook
  ScaleType scale_type = ScaleType::f32;
  int center = 0;  ///< code_center of the format
  Index units = 0;
  Index group_units = 1;  ///< units per group; the last group may have fewer
  /// Of a format that stores its own parameters: bytes that a block's take, [groups][16] at
  /// `scales`, and the tensor's.
  Index record_bytes = 0;
  const std::byte* tensor = nullptr;

  [[nodiscard]] Index groups() const noexcept { return ceil_div(units, group_units); }
  [[nodiscard]] Index units_of(Index group) const noexcept {
    const Index left = units - group * group_units;
    return left < group_units ? left : group_units;
  }
};

/// The scale of one channel and group.
[[nodiscard]] inline float load_scale(const PackedPanel& panel, Index group, Index lane) noexcept {
  const std::byte* stored =
      panel.scales + (group * panel_channels + lane) * bits(panel.scale_type) / 8;
  if (panel.scale_type == ScaleType::f32) {
    float scale;
    std::memcpy(&scale, stored, sizeof(scale));
    return scale;
  }
  std::uint16_t half;
  std::memcpy(&half, stored, sizeof(half));
  return panel.scale_type == ScaleType::f16 ? static_cast<float>(Float16::from_bits(half))
                                            : static_cast<float>(BFloat16::from_bits(half));
}

/// The parameters of one channel and group.
template <Format F>
[[nodiscard]] typename F::Parameters load_parameters(const PackedPanel& panel, Index group,
                                                     Index lane) noexcept {
  typename F::Parameters parameters{};
  if constexpr (StoresOwnParameters<F>) {
    pare::load_parameters<F>(panel.scales + (group * panel_channels + lane) * panel.record_bytes,
                             FieldScope::block, parameters);
    pare::load_parameters<F>(panel.tensor, FieldScope::tensor, parameters);
  } else {
    parameters.scale = load_scale(panel, group, lane);
    if (panel.zero_points)
      F::set_zero_point(parameters, panel.zero_points[group * panel_channels + lane]);
  }
  return parameters;
}

/// What the loops around the kernels read of a packed matrix, whatever its format.
struct PackedView {
  Index rows = 0, cols = 0;
  Index group_length = 0;               ///< columns of a full group, without padding
  const std::int32_t* order = nullptr;  ///< column at each packed position, or null
  const float* row_sums = nullptr;      ///< [rows] sums of the weights
  PackedPanel first{};                  ///< panel 0
  Index unit = 1, unit_words = 0;
  int code_bits = 0;
  const IntegerCodebook* codebook = nullptr;  ///< null: values do not come from a table
  SparseCodes sparse{};                       ///< instead of `first.codes`, which then is null

  [[nodiscard]] Index panels() const noexcept { return ceil_div(rows, panel_channels); }
  [[nodiscard]] Index groups() const noexcept { return first.groups(); }
  [[nodiscard]] Index padded_cols() const noexcept { return first.units * unit; }
  /// From the start of a group to that of the next.
  [[nodiscard]] Index padded_group() const noexcept { return first.group_units * unit; }

  [[nodiscard]] PackedPanel panel(Index index) const noexcept {
    const Index parameters = index * groups() * panel_channels;
    PackedPanel panel = first;
    if (panel.codes) panel.codes += index * panel.units * unit_words;
    panel.scales += panel.record_bytes > 0 ? parameters * panel.record_bytes
                                           : parameters * bits(panel.scale_type) / 8;
    if (panel.zero_points) panel.zero_points += parameters;
    return panel;
  }
};

}  // namespace pare::kernels
