#pragma once

#include <algorithm>

#include "pare/core/scratch.hpp"
#include "pare/kernels/layout/packed_layout.hpp"

namespace pare::kernels {

/// Two panels of a sparse weight at a time as a dense weight of up to 32 rows: for whatever has no
/// kernel of its own for sparse weights.
class ExpandedPair {
 public:
  explicit ExpandedPair(const PackedView& sparse)
      : sparse_(sparse),
        panel_words_(sparse.first.units * sparse.unit_words),
        scratch_(nullptr, Scratch::bytes<std::uint32_t>(2 * panel_words_)),
        codes_(scratch_.take<std::uint32_t>(2 * panel_words_)) {}

  /// Panels `panel` and, if there is one, `panel` + 1. Valid until the next call.
  [[nodiscard]] PackedView expand(Index panel) noexcept {
    PackedView dense = sparse_;
    dense.first = sparse_.panel(panel);
    dense.first.codes = codes_;
    dense.rows = std::min(2 * panel_channels, sparse_.rows - panel * panel_channels);
    dense.row_sums += panel * panel_channels;
    dense.sparse = {};
    for (Index half = 0; half < dense.panels(); ++half)
      sparse_.sparse.expand(sparse_, panel + half, codes_ + half * panel_words_);
    return dense;
  }

 private:
  const PackedView& sparse_;
  Index panel_words_;
  Scratch scratch_;
  std::uint32_t* codes_;
};

}  // namespace pare::kernels
