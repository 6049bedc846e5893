#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

#include "pare/core/huge_pages.hpp"
#include "pare/core/tensor.hpp"

namespace pare {

/// Owned bytes for what kernels stream through: large blocks lie in 2 MiB pages where the system
/// has them, because with pages of 4 KiB address translation costs a tenth of the speed and more.
///
/// Contents are unspecified. The pages of a large block are made, and placed near a core, when
/// first written: let the threads that fill it do that. 64-byte aligned; from 1 MiB on 2 MiB
/// aligned. Throws std::bad_alloc.
class HugePageMemory {
 public:
  HugePageMemory() = default;
  explicit HugePageMemory(std::size_t size_bytes)
      : data_(allocate(size_bytes)), size_bytes_(size_bytes) {}
  HugePageMemory(const HugePageMemory& other) : HugePageMemory(other.size_bytes_) {
    std::copy_n(other.data_, size_bytes_, data_);
  }
  HugePageMemory(HugePageMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_bytes_(std::exchange(other.size_bytes_, 0)) {}
  HugePageMemory& operator=(HugePageMemory other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_bytes_, other.size_bytes_);
    return *this;
  }
  ~HugePageMemory() {
    if (!data_) return;
#if PARE_HUGE_PAGES
    if (detail::uses_huge_pages(size_bytes_)) {
      detail::unmap_huge_pages(data_, size_bytes_);
      return;
    }
#endif
    AlignedAllocator<std::byte>().deallocate(data_, size_bytes_);
  }

  [[nodiscard]] std::byte* data() noexcept { return data_; }
  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data_, size_bytes_}; }

  friend bool operator==(const HugePageMemory& a, const HugePageMemory& b) noexcept {
    return std::equal(a.data_, a.data_ + a.size_bytes_, b.data_, b.data_ + b.size_bytes_);
  }

 private:
  [[nodiscard]] static std::byte* allocate(std::size_t size_bytes) {
    if (size_bytes == 0) return nullptr;
#if PARE_HUGE_PAGES
    if (detail::uses_huge_pages(size_bytes)) return detail::map_huge_pages(size_bytes);
#endif
    return AlignedAllocator<std::byte>().allocate(size_bytes);
  }

  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
};

}  // namespace pare
