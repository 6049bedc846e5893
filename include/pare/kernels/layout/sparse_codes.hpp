#pragma once

#include <cstddef>
#include <cstdint>

#include "pare/core/index.hpp"

namespace pare::kernels {

struct PackedView;

/// Where the codes of a sparse weight of 8 bits lie, in whichever layout. A strip is the output
/// channels, 16 or 32, whose kept codes lie in one stream.
struct SparseCodes {
  /// Writes the codes of a panel as a dense one of 8 bits holds them: [units][2][16].
  using Expand = void (*)(const PackedView&, Index panel, std::uint32_t* codes) noexcept;

  const std::byte* codes = nullptr;
  const std::uint16_t* quads = nullptr;        ///< with blocks: k/4 of each
  const std::int64_t* first_blocks = nullptr;  ///< with blocks: [strips + 1]
  const std::int32_t* compensation = nullptr;  ///< with blocks: [strips][channels]
  Index channels = 0;                          ///< of a strip
  Index strip_bytes = 0;                       ///< of codes, without blocks
  Expand expand = nullptr;

  /// False in the view of a dense weight.
  [[nodiscard]] explicit operator bool() const noexcept { return expand != nullptr; }
};

}  // namespace pare::kernels
