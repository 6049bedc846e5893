#pragma once

#include "pare/kernels/layout/sparse_layout.hpp"

namespace pare {

/// Blocks of `Channels` output channels by four input channels, of which those of zeros are
/// dropped. Where k/4 goes over the fours of a strip of `Channels` that are kept, ascending:
///
///     codes  [k/4][Channels / 16][16][4]  s8
///     quads  [k/4]                        u16, which four it is
///
/// Codes are signed: what is dropped then adds nothing, and the unsigned operand of dot product
/// instructions are the activations, code + 128. For that each channel is compensated with -128
/// times the sum of its codes.
///
/// Larger blocks are runs of these. With 32 channels two vectors of codes share an index and
/// the broadcasts of activations: the faster choice.
template <int Channels>
requires(Channels == 16 || Channels == 32) struct BlockSparse {
  static constexpr std::string_view name = Channels == 16 ? "blocks-16x4" : "blocks-32x4";
  static constexpr Index channels = Channels;
  static constexpr Index columns = 8;
  static constexpr bool has_blocks = true;

  [[nodiscard]] static Index blocks(const kernels::PackedView& dense, Index strip) {
    Index count = 0;
    for (Index quad = 0; quad < dense.padded_cols() / 4; ++quad)
      count += !Block(dense, strip, quad).is_zero();
    return count;
  }

  [[nodiscard]] static Index strip_bytes(Index) noexcept { return 0; }

  static void compress(const kernels::PackedView& dense, Index strip,
                       const kernels::SparseStripPlace& place) {
    auto [codes, quads, compensation] = place;
    for (Index quad = 0; quad < dense.padded_cols() / 4; ++quad) {
      const Block block(dense, strip, quad);
      if (block.is_zero()) continue;
      *quads++ = static_cast<std::uint16_t>(quad);
      for (Index i = 0; i < panels; ++i, codes += 64) {
        std::uint32_t lanes[kernels::panel_channels];
        for (Index lane = 0; lane < kernels::panel_channels; ++lane)
          lanes[lane] = block.vectors[i].lanes[lane] ^ kernels::four_zeros;
        std::memcpy(codes, lanes, 64);
        add_compensation(lanes, compensation + i * kernels::panel_channels);
      }
    }
  }

  static void expand(const kernels::PackedView& w, Index panel, std::uint32_t* codes) noexcept {
    const kernels::SparseCodes& sparse = w.sparse;
    std::fill_n(codes, w.first.units * w.unit_words, kernels::four_zeros);
    const Index strip = panel / panels;
    for (Index b = sparse.first_blocks[strip]; b < sparse.first_blocks[strip + 1]; ++b) {
      std::uint32_t* lanes = codes + sparse.quads[b] * kernels::panel_channels;
      std::memcpy(lanes, sparse.codes + (b * panels + panel % panels) * 64, 64);
      for (Index lane = 0; lane < kernels::panel_channels; ++lane)
        lanes[lane] ^= kernels::four_zeros;
    }
  }

 private:
  static constexpr Index panels = channels / kernels::panel_channels;

  struct Block {
    kernels::Quad vectors[2];

    Block(const kernels::PackedView& dense, Index strip, Index quad)
        : vectors{vector(dense, strip * panels, quad),
                  vector(dense, strip * panels + panels - 1, quad)} {}
    [[nodiscard]] bool is_zero() const noexcept {
      return vectors[0].is_zero() && vectors[1].is_zero();
    }

    static kernels::Quad vector(const kernels::PackedView& dense, Index panel, Index quad) {
      const Index group_quads = dense.padded_group() / 4;
      return {dense, panel, quad / group_quads, quad % group_quads * 4};
    }
  };

  /// Wraps around where there are too many columns for 32-bit sums: then nobody reads it.
  static void add_compensation(const std::uint32_t* lanes, std::int32_t* sums) noexcept {
    for (Index lane = 0; lane < kernels::panel_channels; ++lane) {
      std::uint32_t sum = 0;
      for (int i = 0; i < 4; ++i)
        sum += static_cast<std::uint32_t>(
            static_cast<std::int8_t>(static_cast<std::uint8_t>(lanes[lane] >> 8 * i)));
      sums[lane] = static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[lane]) - 128u * sum);
    }
  }
};

}  // namespace pare
