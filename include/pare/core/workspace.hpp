#pragma once

#include <cstddef>

#include "pare/core/tensor.hpp"

namespace pare {

/// Scratch memory that a caller keeps between calls, so that repeated calls allocate nothing.
///
/// It grows to the largest request and never shrinks. Not for two calls at the same time.
class Workspace {
 public:
  /// At least `size_bytes` bytes, 64-byte aligned, contents unspecified; invalidates the previous.
  [[nodiscard]] std::byte* reserve(std::size_t size_bytes) {
    if (size_bytes > memory_.size()) {
      memory_.clear();
      memory_.resize(size_bytes);
    }
    return memory_.data();
  }

  [[nodiscard]] std::size_t size_bytes() const noexcept { return memory_.size(); }

 private:
  AlignedVector<std::byte> memory_;
};

}  // namespace pare
