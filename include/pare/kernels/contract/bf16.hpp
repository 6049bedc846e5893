#pragma once

#include "pare/kernels/contract/float.hpp"

/// What an implementation of the bf16 matmul supplies; see FloatKernel.
///
/// Codes minus zero points are exact in bf16; their products with bf16 activations are summed in
/// float32 over a group, then scaled. In a tile of t tokens activations lie as FloatOperand::bf16,
/// or bf16_rows.
namespace pare::kernels {

/// Decoded columns of two panels: what tiles read.
struct Bf16Weights {
  const std::uint32_t* values;  ///< [k/4][2][32] pairs, without scale
  const float* scales;          ///< [groups][32]
  Index quads;                  ///< k/4
  Index group_quads;            ///< of a full group; the last may have fewer
};

struct Bf16Kernel {
  /// One panel of packed codes, few tokens: codes are decoded in registers. Needs no group sums.
  using Few = FloatKernel::Few;
  /// Values and scales of `units` units of two panels, from `first_unit` on: one panel's half.
  using Decode = void (*)(const PackedPanel&, Index first_unit, Index units, std::uint32_t* values,
                          float* scales) noexcept;
  using Tile = void (*)(const float* x, const Bf16Weights&, const FloatResult&) noexcept;

  KernelName name;
  TileTable<Few> few;
  TileTable<Tile> tiles;
  Decode decode;
  bool token_rows = false;  ///< tiles read FloatOperand::bf16_rows
};

/// Pairs per step of tiles that read activations in rows of up to 64 bytes, by the k/4 of a group:
/// pieces of long groups start where a whole step does, short ones have one step or two alike.
[[nodiscard]] constexpr Index step_pairs(Index group_quads) noexcept {
  constexpr Index most = 16;
  return group_quads <= most / 2 ? 2 * group_quads : group_quads <= most ? group_quads : most;
}

/// Whether the codes of a format, less zero points, are bf16 numbers that kernels look up.
template <Format F>
[[nodiscard]] constexpr bool exact_in_bf16() noexcept {
  if constexpr (!TableFormat<F> || F::code_bits > 4) {
    return false;
  } else {
    for (const float value : code_values<F>)
      if (static_cast<float>(BFloat16(value)) != value) return false;
    return true;
  }
}

}  // namespace pare::kernels
