#pragma once

#include <array>
#include <cstdint>

#include "pare/kernels/kernel_name.hpp"
#include "pare/kernels/packed_layout.hpp"

/// What an implementation of matmul supplies: plain functions on one panel of 16 channels, noexcept
/// and free of allocation. The drivers (matmul_float.hpp, matmul_integer.hpp) own loops and memory.
namespace pare::kernels {

/// Most tokens a register tile takes: 12 accumulators cover the latency of two multiply-adds per
/// cycle and leave room for the operands.
inline constexpr Index max_tile_tokens = 12;

/// Register tiles by their number of tokens; a kernel fills in those it has, one token at least.
template <class Tile>
struct TileTable {
  std::array<Tile, max_tile_tokens + 1> tiles{};

  [[nodiscard]] constexpr Tile operator[](Index tokens) const noexcept {
    return tiles[static_cast<std::size_t>(tokens)];
  }
  /// Tokens of the largest tile for `left` >= 1 remaining tokens.
  [[nodiscard]] constexpr Index tokens_of_next(Index left) const noexcept {
    Index tokens = left < max_tile_tokens ? left : max_tile_tokens;
    while (!tiles[static_cast<std::size_t>(tokens)]) --tokens;
    return tokens;
  }
  [[nodiscard]] constexpr Index largest() const noexcept { return tokens_of_next(max_tile_tokens); }
};

/// Float activations. In a tile of t tokens they lie as x[k][t], zero in the padding of groups.
struct FloatKernel {
  /// y[16] = one token times all of a panel, codes decoded in registers. `group_sums` holds the
  /// sum of x over each group; read only with zero points.
  using Gemv = void (*)(const PackedPanel&, const float* x, const float* group_sums,
                        float* y) noexcept;
  /// values[k][16] of `units` units from `first_unit` on.
  using Decode = void (*)(const PackedPanel&, Index first_unit, Index units,
                          float* values) noexcept;
  /// y[token][16] += x[k][token] * values[k][16], the sum over k formed first.
  using Tile = void (*)(const float* x, const float* values, Index k_count, float* y,
                        Index y_stride) noexcept;

  KernelName name;
  Gemv gemv;  ///< null: one token is a tile like others
  Decode decode;
  TileTable<Tile> tiles;
};

/// A tile of t tokens with int8 activations.
struct IntegerTokens {
  const std::int8_t* codes;     ///< [k/4][t][4], zero in the padding of groups
  const std::int32_t* offsets;  ///< [group][t]: -(sum of codes), times `center` without zero point
  const float* scales;          ///< [t]
};

struct IntegerKernel {
  /// y[token][16] = scale[token] * sum over groups of w_scale * (dot of codes + correction), where
  /// dot and correction are exact in 32 bits.
  using Tile = void (*)(const PackedPanel&, const IntegerTokens&, float* y,
                        Index y_stride) noexcept;

  KernelName name;
  TileTable<Tile> tiles;
};

/// Longest group whose 32-bit sums of code * (code - zero_point) cannot overflow: 2^31 / (128 255).
inline constexpr Index max_integer_group = 65536;

/// Whether an integer kernel exists for a format.
template <Format F>
inline constexpr bool has_integer_kernel = F::is_integer &&
                                           (F::code_bits == 4 || F::code_bits == 8);

}  // namespace pare::kernels
