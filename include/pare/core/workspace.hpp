#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "pare/core/huge_page_memory.hpp"

namespace pare {

/// Scratch memory that a caller keeps between calls, so that repeated calls allocate nothing.
///
/// A stack of bytes: what is taken is given back in reverse order. It grows by further blocks
/// while in use; from the next empty state on one block holds as much as was ever needed at once.
/// Not for two calls at the same time.
class Workspace {
 public:
  /// `size_bytes` bytes, 64-byte aligned and in huge pages where possible, contents unspecified,
  /// valid until given back.
  [[nodiscard]] std::byte* take(std::size_t size_bytes) {
    const std::size_t size = rounded(size_bytes);
    in_use_ += size;
    peak_ = std::max(peak_, in_use_);
    if (in_use_ == size && !blocks_.empty() && blocks_.back().memory.size_bytes() < peak_)
      blocks_.clear();
    if (blocks_.empty() || blocks_.back().used + size > blocks_.back().memory.size_bytes())
      blocks_.push_back({HugePageMemory(blocks_.empty() ? peak_ : size), 0});
    std::byte* taken = blocks_.back().memory.data() + blocks_.back().used;
    blocks_.back().used += size;
    return taken;
  }

  /// Gives back the last `size_bytes` taken.
  void give_back(std::size_t size_bytes) noexcept {
    in_use_ -= rounded(size_bytes);
    blocks_.back().used -= rounded(size_bytes);
    if (blocks_.back().used == 0 && blocks_.size() > 1) blocks_.pop_back();
  }

  [[nodiscard]] std::size_t size_bytes() const noexcept {
    std::size_t total = 0;
    for (const Block& block : blocks_) total += block.memory.size_bytes();
    return total;
  }

 private:
  struct Block {
    HugePageMemory memory;
    std::size_t used;
  };

  [[nodiscard]] static std::size_t rounded(std::size_t size) noexcept {
    return (std::max<std::size_t>(size, 1) + tensor_alignment_bytes - 1) / tensor_alignment_bytes *
           tensor_alignment_bytes;
  }

  std::vector<Block> blocks_;
  std::size_t in_use_ = 0, peak_ = 0;
};

}  // namespace pare
