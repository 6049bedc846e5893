#include "pare/core/huge_page_memory.hpp"

#include <cstdint>
#include <cstring>
#include <utility>

#include "support/catch.hpp"

using namespace pare;

namespace {

constexpr std::size_t sizes[] = {1, 63, 4096, (1 << 20) - 1, 1 << 20, (2 << 20) + 1, 6 << 20};

bool is_aligned(const HugePageMemory& memory, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(memory.data()) % alignment == 0;
}

}  // namespace

TEST_CASE("blocks are aligned, large ones to huge pages, and can be written to the end",
          "[huge_page_memory]") {
  for (const std::size_t size : sizes) {
    CAPTURE(size);
    HugePageMemory memory(size);
    CHECK(memory.size_bytes() == size);
    CHECK(is_aligned(memory, 64));
#ifdef __linux__
    if (size >= 1 << 20) CHECK(is_aligned(memory, 2 << 20));
#endif
    std::memset(memory.data(), 7, size);
    CHECK(memory.bytes().back() == std::byte{7});
  }
}

TEST_CASE("a copy is equal and independent, a moved-from block empty", "[huge_page_memory]") {
  for (const std::size_t size : sizes) {
    CAPTURE(size);
    HugePageMemory memory(size);
    std::memset(memory.data(), 1, size);
    HugePageMemory copy(memory);
    CHECK(copy == memory);
    CHECK(copy.data() != memory.data());
    copy.data()[size - 1] = std::byte{2};
    CHECK_FALSE(copy == memory);
    memory = copy;
    CHECK(copy == memory);

    const std::byte* const place = memory.data();
    HugePageMemory moved(std::move(memory));
    CHECK(moved.data() == place);
    CHECK(memory == HugePageMemory());
    CHECK(memory.size_bytes() == 0);
    memory = std::move(moved);
    CHECK(memory.data() == place);
    CHECK(moved.data() == nullptr);
    memory = HugePageMemory(3);
    CHECK_FALSE(copy == memory);
  }
}

TEST_CASE("nothing takes no memory, too much is refused", "[huge_page_memory]") {
  CHECK(HugePageMemory(0).data() == nullptr);
  CHECK(HugePageMemory(0) == HugePageMemory());
  CHECK_THROWS_AS(HugePageMemory(std::size_t(-1)), std::bad_alloc);
  CHECK_THROWS_AS(HugePageMemory(std::size_t(-1) / 4), std::bad_alloc);
}
