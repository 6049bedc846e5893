#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>

#include "pare/kernels/layout/packed_layout.hpp"

namespace pare::kernels {

static_assert(std::endian::native == std::endian::little,
              "packed words are made of the bytes of codes");

/// Columns of a panel that are arranged at a time: their codes stay in the first-level cache, and
/// sums of so many fit LaneSums. A multiple of every unit.
inline constexpr Index arranged_columns = 256;

/// Codes of the rows of a panel, as QuantizedMatrix holds them; lanes beyond `lanes` get padding.
struct CodeRows {
  const std::uint8_t* first = nullptr;
  Index stride = 0;
  Index lanes = panel_channels;
};

/// What arranging finds out about stored codes.
struct alignas(64) LaneSums {
  std::uint8_t largest[4 * panel_channels] = {};  ///< largest codes so far, four of each lane
  /// Operands, see integer_codebook: 16 bits each for the lower and the upper two codes of a word.
  std::uint32_t operands[panel_channels] = {};

  [[nodiscard]] int largest_code() const noexcept {
    return *std::max_element(std::begin(largest), std::end(largest));
  }
  /// Returns the sum of a lane and begins a new one.
  [[nodiscard]] Index take_operands(Index lane) noexcept {
    const std::uint32_t sums = std::exchange(operands[lane], 0);
    return (sums & 0xffffu) + (sums >> 16);
  }
};
static_assert(arranged_columns / 4 * 2 * 255 < 1 << 16);

/// What the stored codes are counted as in sums: themselves, or by the codebook of the format.
template <Format F>
inline constexpr auto sum_operands = [] {
  std::array<std::uint8_t, 16> operands{};
  if constexpr (TableFormat<F> && !F::is_integer) operands = integer_codebook<F>.operands;
  return operands;
}();
/// What stands for zero, a zero point aside, and what padding counts as: it is stored as 0.
template <Format F>
inline constexpr int operand_center = [] {
  if constexpr (TableFormat<F> && !F::is_integer)
    return integer_codebook<F>.center;
  else
    return int{F::code_offset};
}();
template <Format F>
inline constexpr int padding_operand = sum_operands<F>[0];

/// The code that is stored as 0.
template <Format F>
inline constexpr auto padding_code = static_cast<std::uint8_t>(-F::code_offset);

/// Arranges the first `count` codes of rows, at most arranged_columns, padded to whole units.
using ArrangeCodes = void (*)(const CodeRows& rows, Index count, LaneSums& sums,
                              std::uint32_t* unit) noexcept;

}  // namespace pare::kernels
