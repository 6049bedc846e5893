#pragma once

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "pare/kernels/layout/expanded_pair.hpp"
#include "pare/kernels/pack.hpp"
#include "pare/kernels/sparse_matrix.hpp"
#include "pare/kernels/unpack.hpp"

namespace pare {

/// Arranges a quantized weight for matmul without its zeros.
///
///     const auto w = pack<BlockSparse<32>>(q);  // or BlockSparse<16>, TwoFour
///
/// Errors    ArgumentError of the dense `pack`, and naming row and columns where TwoFour finds
///           more than two nonzeros among four neighbours (in column order, within a group)
/// Edge      what is kept may hold zeros; unpack(pack<L>(q)) == q
/// Order     independent of the number of threads
template <SparseLayout L>
[[nodiscard]] SparseMatrix<L> pack(const QuantizedMatrix<Int<8>>& q,
                                   const Execution& execution = {}) {
  const PackedMatrix<Int<8>> packed = pack(q, execution);
  const kernels::PackedView dense = packed.view();
  const Index strips = ceil_div(q.rows(), L::channels);
  std::vector<std::int64_t> first_blocks(static_cast<std::size_t>(strips) + 1);
  execution.parallel_for(strips, [&](Index strip) {
    first_blocks[static_cast<std::size_t>(strip) + 1] = L::blocks(dense, strip);
  });
  for (std::size_t strip = 1; strip < first_blocks.size(); ++strip)
    first_blocks[strip] += first_blocks[strip - 1];

  const Index blocks = first_blocks.back();
  const kernels::SparseSections sections = kernels::sparse_sections<L>(packed.shape(), blocks);
  HugePageMemory memory(static_cast<std::size_t>(sections.size_bytes));
  std::fill_n(memory.data(), memory.size_bytes(), std::byte{0});
  const auto at = [&](const kernels::Section& section) {
    return memory.data() + section.offset_bytes;
  };
  execution.parallel_for(strips, [&](Index strip) {
    const Index first = first_blocks[static_cast<std::size_t>(strip)];
    const Index offset_bytes =
        L::has_blocks ? first * L::channels * 4 : strip * sections.strip_bytes;
    L::compress(dense, strip,
                {at(sections.codes) + offset_bytes,
                 reinterpret_cast<std::uint16_t*>(at(sections.quads)) + first,
                 reinterpret_cast<std::int32_t*>(at(sections.compensation)) + strip * L::channels});
  });
  const auto put = [&](const kernels::Section& section, const void* data) {
    if (section.size_bytes > 0)
      std::memcpy(at(section), data, static_cast<std::size_t>(section.size_bytes));
  };
  put(sections.first_blocks, first_blocks.data());
  put(sections.scales, dense.first.scales);
  put(sections.row_sums, dense.row_sums);
  put(sections.column_order, dense.order);
  return SparseMatrix<L>(packed.shape(), PackedStorage(std::move(memory)));
}

/// The canonical form back: pack<L>(unpack(p)) == p.
///
/// Order     independent of the number of threads
template <SparseLayout L>
[[nodiscard]] QuantizedMatrix<Int<8>> unpack(const SparseMatrix<L>& sparse,
                                             const Execution& execution = {}) {
  QuantizedMatrix<Int<8>> q = kernels::detail::unpack_groups(sparse);
  const kernels::PackedView view = sparse.view();
  execution.parallel_for(sparse.panels(), [&](Index panel) {
    kernels::ExpandedPair expanded(view);
    kernels::detail::unpack_panel(expanded.expand(panel).first, view.order, panel, q);
  });
  return q;
}

}  // namespace pare
