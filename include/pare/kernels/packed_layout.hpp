#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "pare/formats/format.hpp"

namespace pare::kernels {

/// Output channels that lie side by side in the lanes of a packed panel.
inline constexpr Index panel_channels = 16;

/// How the codes of a panel lie in memory, the same for every CPU and all compiler flags.
///
/// A panel is 16 output channels; k, the input channel, runs in memory. Codes are stored unsigned
/// (code + code_offset) in units of `unit` consecutive k; a unit is `words` vectors of sixteen
/// 32-bit words, lane l belonging to channel l:
///
///     8 bits    [K/8][2][16]   word j holds k = 4j .. 4j + 3, the lowest in the lowest byte:
///                              an operand of the 8-bit dot product instructions
///     4 bits    [K/8][1][16]   byte j holds k = j in the low nibble, k = 4 + j in the high one:
///                              one mask and one shift give two such operands
///     others    [K/32][b][16]  a dense stream of b-bit codes, the lowest bits first
///
/// `Lookup`: values come from a table, else they are the codes counted from `center`.
template <int Bits, bool Lookup>
struct PackedCodes {
  static constexpr int bits = Bits;
  static constexpr bool lookup = Lookup;
  static constexpr Index unit = Bits == 4 || Bits == 8 ? 8 : 32;
  static constexpr Index words = unit * Bits / 32;
  static constexpr Index unit_words = words * panel_channels;
  static constexpr unsigned mask = (1u << Bits) - 1u;
  /// Codes count from here: the value of a stored code is near `stored - center`.
  static constexpr int center = 1 << (Bits - 1);

  /// Where the code of the unit's k-th input channel starts in a lane's words.
  [[nodiscard]] static constexpr int bit_of(int k) noexcept {
    return Bits == 4 ? 8 * (k % 4) + 4 * (k / 4) : Bits * k;
  }
};
static_assert(PackedCodes<8, false>::unit_words * 4 == 128);
static_assert(PackedCodes<4, false>::unit_words * 4 == 64);
static_assert(PackedCodes<3, false>::unit_words * 4 == 3 * 64);

template <Format F>
using packed_codes = PackedCodes<F::code_bits, !F::is_integer>;

/// The stored code of lane `lane` at the unit's k-th input channel.
template <class Codes>
[[nodiscard]] constexpr unsigned load_code(const std::uint32_t* unit, int k, Index lane) noexcept {
  const int word = Codes::bit_of(k) / 32, shift = Codes::bit_of(k) % 32;
  unsigned code = unit[word * panel_channels + lane] >> shift;
  if (shift + Codes::bits > 32) code |= unit[(word + 1) * panel_channels + lane] << (32 - shift);
  return code & Codes::mask;
}

template <class Codes>
constexpr void store_code(std::uint32_t* unit, int k, Index lane, unsigned code) noexcept {
  const int word = Codes::bit_of(k) / 32, shift = Codes::bit_of(k) % 32;
  unit[word * panel_channels + lane] |= code << shift;
  if (shift + Codes::bits > 32) unit[(word + 1) * panel_channels + lane] |= code >> (32 - shift);
}

namespace detail {

template <Format F>
[[nodiscard]] constexpr auto make_code_values() {
  constexpr std::size_t codes = std::size_t{1} << F::code_bits;
  std::array<float, std::max<std::size_t>(codes, 16)> values{};
  typename F::Parameters parameters{};
  parameters.scale = 1.0f;
  F::set_zero_point(parameters, packed_codes<F>::center);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = F::decode(from_stored<F>(static_cast<std::uint8_t>(i % codes)), parameters);
  return values;
}

}  // namespace detail

/// value = scale * (code_values[stored] - (zero_point - center)), the last term only with a zero
/// point. Short tables repeat up to 16 entries, so that a 4-bit index may carry foreign bits.
template <Format F>
inline constexpr auto code_values = detail::make_code_values<F>();

/// What a kernel reads of 16 output channels.
struct PackedPanel {
  const std::uint32_t* codes = nullptr;       ///< [units][words][16]
  const std::byte* scales = nullptr;          ///< [groups][16] of scale_type
  const std::uint8_t* zero_points = nullptr;  ///< [groups][16], or null
  const float* values = nullptr;              ///< code_values of the format
  ScaleType scale_type = ScaleType::f32;
  Index units = 0;
  Index group_units = 1;  ///< units per group; the last group may have fewer

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

/// What the loops around the kernels read of a packed matrix, whatever its format.
struct PackedView {
  Index rows = 0, cols = 0;
  Index group_length = 0;               ///< columns of a full group, without padding
  const std::int32_t* order = nullptr;  ///< column at each packed position, or null
  const float* row_sums = nullptr;      ///< [rows] sums of the weights, integer formats
  PackedPanel first{};                  ///< panel 0
  Index unit = 1, unit_words = 0;
  int center = 0;

  [[nodiscard]] Index panels() const noexcept { return ceil_div(rows, panel_channels); }
  [[nodiscard]] Index groups() const noexcept { return first.groups(); }
  [[nodiscard]] Index padded_cols() const noexcept { return first.units * unit; }
  /// From the start of a group to that of the next.
  [[nodiscard]] Index padded_group() const noexcept { return first.group_units * unit; }

  [[nodiscard]] PackedPanel panel(Index index) const noexcept {
    const Index parameters = index * groups() * panel_channels;
    PackedPanel panel = first;
    panel.codes += index * panel.units * unit_words;
    panel.scales += parameters * bits(panel.scale_type) / 8;
    if (panel.zero_points) panel.zero_points += parameters;
    return panel;
  }
};

}  // namespace pare::kernels
