#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include "pare/core/config.hpp"

#if PARE_HUGE_PAGES
#include <sys/mman.h>
#endif

/// Memory in pages of 2 MiB where the system has them.
namespace pare {

namespace detail {

inline constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

/// Smaller blocks would waste most of a huge page, and few ordinary pages do not hurt.
inline constexpr std::size_t huge_page_threshold_bytes = std::size_t{1} << 20;

[[nodiscard]] constexpr bool uses_huge_pages(std::size_t size_bytes) noexcept {
  return PARE_HUGE_PAGES && size_bytes >= huge_page_threshold_bytes;
}

[[nodiscard]] constexpr std::size_t whole_huge_pages(std::size_t size_bytes) noexcept {
  return (size_bytes + huge_page_bytes - 1) / huge_page_bytes * huge_page_bytes;
}

#if PARE_HUGE_PAGES
/// Pages that nobody has used before: those of the heap may already be small ones. A mapping
/// begins anywhere, so one page too many is asked for and what is left over is given back.
[[nodiscard]] inline std::byte* map_huge_pages(std::size_t size_bytes) {
  if (size_bytes > std::size_t(-1) / 2) throw std::bad_alloc();
  const std::size_t size = whole_huge_pages(size_bytes);
  void* mapped = ::mmap(nullptr, size + huge_page_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  auto* const begin = static_cast<std::byte*>(mapped);
  const std::size_t before =
      (huge_page_bytes - reinterpret_cast<std::uintptr_t>(begin) % huge_page_bytes) %
      huge_page_bytes;
  if (before > 0) ::munmap(begin, before);
  ::munmap(begin + before + size, huge_page_bytes - before);
  ::madvise(begin + before, size, MADV_HUGEPAGE);  // a kernel without them serves small pages
  return begin + before;
}

inline void unmap_huge_pages(void* begin, std::size_t size_bytes) noexcept {
  ::munmap(begin, whole_huge_pages(size_bytes));
}
#endif

}  // namespace detail

}  // namespace pare
