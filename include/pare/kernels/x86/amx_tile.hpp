#pragma once

#include <immintrin.h>

#include <cstdint>

#include "pare/core/config.hpp"
#include "pare/core/index.hpp"
#include "pare/kernels/x86/target.hpp"

/// Tile registers: up to 16 rows of 64 bytes each.
///
/// A product adds to sixteen rows (tokens) of sixteen sums (channels) what sixteen rows of
/// activations give with a tile of weights, [k/4][16][4] bytes or [k/2][16][2] words: packed panels
/// are such tiles. Registers 0 .. 3 are the sums of two by two tiles, 4 and 5 the activations of
/// their tokens, 6 and 7 the weights of their channels.
namespace pare::kernels::amx {

inline constexpr Index tile_rows = 16, row_bytes = 64;
inline constexpr Index tile_bytes = tile_rows * row_bytes;
/// Tokens and channels of two by two tiles.
inline constexpr Index pair = 2 * tile_rows;

/// What ldtilecfg reads.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

/// Tiles for steps of `step_rows` rows of weights; zeros in all of them. The registers are given
/// back at the end: a thread that keeps them makes every switch to another one slower.
class Tiles {
 public:
  PARE_TARGET_AMX PARE_FORCE_INLINE explicit Tiles(Index step_rows) noexcept {
    TileShapes shapes;
    for (int tile = 0; tile < 8; ++tile) {
      shapes.rows[tile] = tile_rows;
      shapes.row_bytes[tile] = row_bytes;
    }
    shapes.row_bytes[4] = shapes.row_bytes[5] = static_cast<std::uint16_t>(4 * step_rows);
    shapes.rows[6] = shapes.rows[7] = static_cast<std::uint8_t>(step_rows);
    // The intrinsic tells g++ 12 of the first eight bytes only.
    asm volatile("ldtilecfg %0" : : "m"(shapes));
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
  PARE_TARGET_AMX PARE_FORCE_INLINE ~Tiles() { _tile_release(); }
};

/// Makes what was stored to memory visible to loads of tiles, which g++ 12 moves stores across.
PARE_FORCE_INLINE void flush_stores() noexcept { asm volatile("" : : : "memory"); }

/// Sums of `Halves` times sixteen tokens by 32 channels, [token][32] words.
template <int Halves>
PARE_TARGET_AMX PARE_FORCE_INLINE void zero_sums() noexcept {
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (Halves > 1) {
    _tile_zero(2);
    _tile_zero(3);
  }
}
template <int Halves>
PARE_TARGET_AMX PARE_FORCE_INLINE void load_sums(const void* sums) noexcept {
  const char* from = static_cast<const char*>(sums);
  flush_stores();
  _tile_loadd(0, from, 2 * row_bytes);
  _tile_loadd(1, from + row_bytes, 2 * row_bytes);
  if constexpr (Halves > 1) {
    _tile_loadd(2, from + 2 * tile_bytes, 2 * row_bytes);
    _tile_loadd(3, from + 2 * tile_bytes + row_bytes, 2 * row_bytes);
  }
}
template <int Halves>
PARE_TARGET_AMX PARE_FORCE_INLINE void store_sums(void* sums) noexcept {
  char* to = static_cast<char*>(sums);
  _tile_stored(0, to, 2 * row_bytes);
  _tile_stored(1, to + row_bytes, 2 * row_bytes);
  if constexpr (Halves > 1) {
    _tile_stored(2, to + 2 * tile_bytes, 2 * row_bytes);
    _tile_stored(3, to + 2 * tile_bytes + row_bytes, 2 * row_bytes);
  }
}

}  // namespace pare::kernels::amx
