#pragma once

#include <algorithm>
#include <concepts>
#include <cstring>
#include <string_view>

#include "pare/kernels/layout/packed_layout.hpp"
#include "pare/kernels/layout/sparse_codes.hpp"

namespace pare {

namespace kernels {

/// Where a layout puts what it keeps of one strip.
struct SparseStripPlace {
  std::byte* codes;
  std::uint16_t* quads;        ///< one per block
  std::int32_t* compensation;  ///< with blocks one per channel, zeros
};

}  // namespace kernels

/// How the codes of a sparse weight of 8 bits lie in memory. A stateless type:
///
///     static constexpr std::string_view name;
///     static constexpr Index channels;   // of a strip: 16 or 32
///     static constexpr Index columns;    // its groups are padded to a multiple of: 8, 16 or 32
///     static constexpr bool has_blocks;  // strips keep any number of blocks
///     static Index blocks(const PackedView& dense, Index strip);   // how many, 0 without
///     static Index strip_bytes(Index cols);                        // of padded columns; 0 with
///     static void compress(const PackedView& dense, Index strip, const SparseStripPlace&);
///     static void expand(const PackedView& sparse, Index panel, std::uint32_t* codes);
template <class L>
concept SparseLayout = requires(const kernels::PackedView& dense,
                                const kernels::SparseStripPlace& place, Index i) {
  { L::name } -> std::convertible_to<std::string_view>;
  { L::channels } -> std::convertible_to<Index>;
  { L::columns } -> std::convertible_to<Index>;
  { L::has_blocks } -> std::convertible_to<bool>;
  { L::blocks(dense, i) } -> std::same_as<Index>;
  { L::strip_bytes(i) } -> std::same_as<Index>;
  L::compress(dense, i, place);
  kernels::SparseCodes::Expand{&L::expand};
};

namespace kernels {

/// Four codes of zero as they are stored, code + 128, in a word.
inline constexpr std::uint32_t four_zeros = 0x80808080u;

/// Stored codes of a panel's channels at columns `k` .. `k` + 3 of a group, [16][4]: zeros in all
/// padding, and in a panel past the last one.
struct Quad {
  std::uint32_t lanes[panel_channels];

  Quad(const PackedView& dense, Index panel, Index group, Index k) noexcept {
    std::fill_n(lanes, panel_channels, four_zeros);
    const Index channels = std::min(panel_channels, dense.rows - panel * panel_channels);
    const Index length = std::min(dense.group_length, dense.cols - group * dense.group_length);
    if (channels <= 0 || k >= length) return;
    const std::uint32_t mask = length - k >= 4 ? ~0u : (1u << 8 * (length - k)) - 1u;
    const std::uint32_t* stored =
        dense.panel(panel).codes + (group * dense.padded_group() + k) / 4 * panel_channels;
    for (Index lane = 0; lane < channels; ++lane)
      lanes[lane] = (stored[lane] & mask) | (four_zeros & ~mask);
  }

  [[nodiscard]] bool is_zero() const noexcept {
    return std::all_of(lanes, lanes + panel_channels,
                       [](std::uint32_t lane) { return lane == four_zeros; });
  }
};

}  // namespace kernels
}  // namespace pare
