#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "pare/core/huge_page_memory.hpp"

namespace pare {

/// The bytes of a packed weight: memory of its own, or memory that others own and keep as long as
/// anyone reads it, such as a mapped file. A copy has memory of its own in the first case and
/// shares it in the second.
class PackedStorage {
 public:
  PackedStorage() = default;
  explicit PackedStorage(HugePageMemory memory) noexcept : own_(std::move(memory)) {}
  /// `bytes` stay valid while `owner`, not null, lives.
  PackedStorage(std::span<const std::byte> bytes, std::shared_ptr<const void> owner) noexcept
      : owner_(std::move(owner)), shared_(bytes) {}

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return owner_ ? shared_ : own_.bytes();
  }
  [[nodiscard]] bool is_shared() const noexcept { return owner_ != nullptr; }

 private:
  HugePageMemory own_;
  std::shared_ptr<const void> owner_;
  std::span<const std::byte> shared_;
};

}  // namespace pare
