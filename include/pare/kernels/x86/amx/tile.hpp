#pragma once

#include <immintrin.h>

#include <cstdint>

#include "pare/core/config.hpp"
#include "pare/core/index.hpp"
#include "pare/kernels/contract/tile_table.hpp"
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
/// Tokens, or channels, of two by two tiles.
inline constexpr Index two_tiles = 2 * tile_rows;

/// What ldtilecfg reads.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

/// Makes what was stored to memory visible to loads of tiles, which g++ 12 moves stores across.
PARE_FORCE_INLINE void flush_stores() noexcept { asm volatile("" : : : "memory"); }

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
    asm volatile("ldtilecfg %0" : : "m"(shapes) : "memory");
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
  PARE_TARGET_AMX PARE_FORCE_INLINE ~Tiles() {
    flush_stores();
    _tile_release();
  }
};

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

/// What is multiplied: activations with weights.
enum class Product {
  signed_by_signed,    ///< bytes
  signed_by_unsigned,  ///< bytes
  bf16
};

template <Product P, int Sums, int Activations, int Weights>
PARE_TARGET_AMX PARE_FORCE_INLINE void multiply() noexcept {
#if PARE_GCC
  // The intrinsics of g++ 12 take registers as text.
  if constexpr (P == Product::signed_by_signed)
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0"
                 :
                 : "i"(Sums), "i"(Activations), "i"(Weights));
  else if constexpr (P == Product::signed_by_unsigned)
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0"
                 :
                 : "i"(Sums), "i"(Activations), "i"(Weights));
  else
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0"
                 :
                 : "i"(Sums), "i"(Activations), "i"(Weights));
#else
  if constexpr (P == Product::signed_by_signed)
    _tile_dpbssd(Sums, Activations, Weights);
  else if constexpr (P == Product::signed_by_unsigned)
    _tile_dpbsud(Sums, Activations, Weights);
  else
    _tile_dpbf16ps(Sums, Activations, Weights);
#endif
}

/// Runs beside products: nothing.
struct Nothing {
  PARE_FORCE_INLINE void operator()(int) const noexcept {}
};

/// Multiplies activations of `Halves` times sixteen tokens, [steps][token][4 step_rows] bytes, with
/// the rows of two panels, step by step.
template <Product P, int Halves>
class Steps {
 public:
  /// Rows of weights lie `weight_stride` bytes apart. Meanwhile far memory is asked for: from
  /// `ahead` on, so many bytes in a step.
  PARE_TARGET_AMX PARE_FORCE_INLINE Steps(const void* activations, const void* first,
                                          const void* second, Index weight_stride, Index step_rows,
                                          const char* ahead = nullptr,
                                          Index ahead_bytes = 0) noexcept
      : activations_(static_cast<const char*>(activations)),
        first_(static_cast<const char*>(first)),
        second_(static_cast<const char*>(second)),
        weight_stride_(weight_stride),
        step_rows_(step_rows),
        ahead_(ahead),
        ahead_bytes_(ahead_bytes) {}

  /// The next `rows` rows, at least one; `between(part)` runs beside each product of the last step.
  /// What is left of a step then is skipped in the activations, where it is zero.
  template <class Between>
  PARE_TARGET_AMX PARE_FORCE_INLINE void add(Index rows, const Between& between) noexcept {
    for (; rows > step_rows_; rows -= step_rows_) {
      load_and_multiply(first_, second_, weight_stride_, Nothing{});
      skip(step_rows_);
    }
    alignas(64) char rest[2][tile_bytes];
    const char *first = first_, *second = second_;
    Index weight_stride = weight_stride_;
    if (rows < step_rows_) {  // what follows may be the end of memory
      for (Index i = 0; i < step_rows_; ++i) {
        const bool is_left = i < rows;
        const Index at = is_left ? weight_stride_ * i : 0;
        const __mmask16 lanes = is_left ? 0xffff : 0;
        _mm512_store_si512(rest[0] + row_bytes * i, _mm512_maskz_loadu_epi32(lanes, first_ + at));
        _mm512_store_si512(rest[1] + row_bytes * i, _mm512_maskz_loadu_epi32(lanes, second_ + at));
      }
      flush_stores();
      first = rest[0], second = rest[1], weight_stride = row_bytes;
    }
    load_and_multiply(first, second, weight_stride, between);
    skip(rows);
  }
  PARE_TARGET_AMX PARE_FORCE_INLINE void add(Index rows) noexcept { add(rows, Nothing{}); }

 private:
  PARE_FORCE_INLINE void skip(Index rows) noexcept {
    first_ += weight_stride_ * rows;
    second_ += weight_stride_ * rows;
  }

  template <class Between>
  PARE_TARGET_AMX PARE_FORCE_INLINE void load_and_multiply(const char* first, const char* second,
                                                           Index weight_stride,
                                                           const Between& between) noexcept {
    const Index stride = 4 * step_rows_;
    for (Index byte = 0; byte < ahead_bytes_; byte += 64) _mm_prefetch(ahead_ + byte, _MM_HINT_T1);
    ahead_ += ahead_bytes_;
    _tile_loadd(6, first, weight_stride);
    _tile_loadd(4, activations_, stride);
    multiply<P, 0, 4, 6>();
    between(0);
    _tile_loadd(7, second, weight_stride);
    multiply<P, 1, 4, 7>();
    between(1);
    if constexpr (Halves > 1) {
      _tile_loadd(5, activations_ + tile_rows * stride, stride);
      multiply<P, 2, 5, 6>();
      between(2);
      multiply<P, 3, 5, 7>();
      between(3);
    }
    activations_ += Halves * tile_rows * stride;
  }

  const char *activations_, *first_, *second_;
  Index weight_stride_, step_rows_;
  const char* ahead_;
  Index ahead_bytes_;
};

/// A table of tiles of 16 and 32 tokens.
template <class Tile>
[[nodiscard]] constexpr TileTable<Tile> tiles_of(Tile half, Tile whole) noexcept {
  TileTable<Tile> table{};
  table.tiles[tile_rows] = half;
  table.tiles[two_tiles] = whole;
  return table;
}

}  // namespace pare::kernels::amx
