#pragma once

#include <array>
#include <string>

#include "pare/core/error.hpp"
#include "pare/kernels/layout/sparse_layout.hpp"

namespace pare {

namespace kernels {

/// A unit of 32 input channels of a panel. A vector holds of eight k the kept codes: in each lane
/// two of the first four, two of the others. The last vector says which they are: two bits per
/// code from the lowest on, so that bits 4 i .. 4 i + 3 belong to the i-th four of the unit.
///
///     codes    [k/8][16][4]  s8
///     indices  [16]          u32
struct TwoFourCodes {
  static constexpr int bits = 8;
  static constexpr bool lookup = false;
  static constexpr Index unit = 32;
  static constexpr Index words = 5;
  static constexpr Index unit_words = words * panel_channels;
  static constexpr Index index_word = 4 * panel_channels;
};

}  // namespace kernels

/// At most two of four neighbouring input channels are not zero (2:4 sparsity), and two are stored:
/// see kernels::TwoFourCodes. Where fewer are not zero the first zeros fill up.
struct TwoFour {
  static constexpr std::string_view name = "2:4";
  static constexpr Index channels = kernels::panel_channels;
  static constexpr Index columns = kernels::TwoFourCodes::unit;
  static constexpr bool has_blocks = false;

  [[nodiscard]] static Index blocks(const kernels::PackedView&, Index) { return 0; }

  [[nodiscard]] static Index strip_bytes(Index cols) noexcept {
    return cols / columns * kernels::TwoFourCodes::unit_words * Index{sizeof(std::uint32_t)};
  }

  /// Throws ArgumentError naming row and columns of four neighbours that are not sparse enough.
  static void compress(const kernels::PackedView& dense, Index panel,
                       const kernels::SparseStripPlace& place) {
    std::byte* unit = place.codes;
    for (Index group = 0; group < dense.groups(); ++group) {
      const Index length = std::min(dense.group_length, dense.cols - group * dense.group_length);
      for (Index k = 0; k < length; k += columns, unit += strip_bytes(columns)) {
        std::uint32_t words[kernels::TwoFourCodes::unit_words] = {};
        for (Index quad = 0; quad < quads; ++quad) {
          const kernels::Quad fours(dense, panel, group, k + 4 * quad);
          for (Index lane = 0; lane < channels; ++lane) {
            const Pair pair = kept(fours.lanes[lane]);
            if (pair.lost) refuse(dense, panel, lane, group, k + 4 * quad);
            words[quad / 2 * channels + lane] |= pair.codes << quad % 2 * 16;
            words[kernels::TwoFourCodes::index_word + lane] |= pair.indices << 4 * quad;
          }
        }
        std::memcpy(unit, words, sizeof(words));
      }
    }
  }

  static void expand(const kernels::PackedView& w, Index panel, std::uint32_t* codes) noexcept {
    const std::byte* unit = w.sparse.codes + panel * w.sparse.strip_bytes;
    for (Index group = 0; group < w.groups(); ++group) {
      Index left = w.first.units_of(group) * 2;
      for (; left > 0; left -= quads, unit += strip_bytes(columns)) {
        std::uint32_t words[kernels::TwoFourCodes::unit_words];
        std::memcpy(words, unit, sizeof(words));
        for (Index quad = 0; quad < std::min(quads, left); ++quad, codes += channels)
          for (Index lane = 0; lane < channels; ++lane) {
            const std::uint32_t two = words[quad / 2 * channels + lane] >> quad % 2 * 16;
            const std::uint32_t indices =
                words[kernels::TwoFourCodes::index_word + lane] >> 4 * quad;
            codes[lane] = kernels::four_zeros ^ ((two & 0xffu) << 8 * (indices & 3u) |
                                                 (two >> 8 & 0xffu) << 8 * (indices >> 2 & 3u));
          }
      }
    }
  }

 private:
  static constexpr Index quads = columns / 4;

  struct Pair {
    std::uint32_t codes, indices;
    bool lost;  ///< more than two are not zero
  };

  [[nodiscard]] static Pair kept(std::uint32_t stored) noexcept {
    const std::uint32_t four = stored ^ kernels::four_zeros;
    const auto code = [&](unsigned i) { return four >> 8 * i & 0xffu; };
    std::array<unsigned, 5> order{};  // those that are not zero, then the others
    std::size_t nonzeros = 0;
    for (unsigned i = 0; i < 4; ++i)
      if (code(i) != 0) order[nonzeros++] = i;
    std::size_t count = nonzeros;
    for (unsigned i = 0; i < 4; ++i)
      if (code(i) == 0) order[count++] = i;
    const unsigned i = std::min(order[0], order[1]), j = std::max(order[0], order[1]);
    return {code(i) | code(j) << 8, i | j << 2, nonzeros > 2};
  }

  [[noreturn]] static void refuse(const kernels::PackedView& dense, Index panel, Index lane,
                                  Index group, Index k) {
    const kernels::Quad fours(dense, panel, group, k);
    const std::uint32_t four = fours.lanes[lane] ^ kernels::four_zeros;
    std::string columns_text;
    for (Index i = 0; i < 4; ++i) {
      if ((four >> 8 * i & 0xffu) == 0) continue;
      const Index position = group * dense.group_length + k + i;
      columns_text += (columns_text.empty() ? "" : ", ") +
                      std::to_string(dense.order ? dense.order[position] : position);
    }
    throw ArgumentError("row " + std::to_string(panel * channels + lane) +
                        " has nonzeros in columns " + columns_text +
                        ": 2:4 sparsity allows two among four neighbours");
  }
};

}  // namespace pare
