#pragma once

#include <array>

#include "pare/kernels/contract/integer.hpp"

/// What an implementation of the integer matmul supplies for a sparse layout. A family that has
/// nothing multiplies what SparseCodes::expand writes.
namespace pare::kernels {

/// The blocks of a strip and its parameters.
struct SparseStrip {
  const std::byte* codes;
  const std::uint16_t* quads;
  Index blocks;
  const std::int32_t* compensation;
  std::array<PackedPanel, 2> panels;  ///< their scales, one per channel
  /// What far memory is asked for meanwhile: an address per block, this many bytes apart.
  const char* ahead;
  Index ahead_step_bytes;
};

/// One of the two is there, or neither: then the layout has no kernel in the family.
struct SparseKernel {
  using Tile = void (*)(const SparseStrip&, const IntegerTokens&, const IntegerResult&) noexcept;

  KernelName name = KernelName::automatic;
  /// Blocks skip activations, which are u8_by_s8. For one scale per row and token.
  TileTable<Tile> tiles{};
  /// Codes that are decoded like any others: `unit_words` words per `unit` columns.
  const IntegerKernel* decoding = nullptr;
  Index unit = 0, unit_words = 0;

  [[nodiscard]] constexpr explicit operator bool() const noexcept {
    return decoding || tiles.largest() > 0;
  }
};

/// A weight as a kernel that decodes its codes reads it.
[[nodiscard]] inline PackedView decoding_view(PackedView w, const SparseKernel& kernel) noexcept {
  const Index groups = w.groups(), wider = kernel.unit / w.unit;
  const Index last = groups == 0 ? 0 : ceil_div(w.first.units_of(groups - 1), wider);
  w.first.codes = reinterpret_cast<const std::uint32_t*>(w.sparse.codes);
  w.first.group_units = ceil_div(w.first.group_units, wider);
  w.first.units = groups == 0 ? 0 : (groups - 1) * w.first.group_units + last;
  w.unit = kernel.unit;
  w.unit_words = kernel.unit_words;
  w.sparse = {};
  return w;
}

}  // namespace pare::kernels
