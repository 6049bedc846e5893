#include "pare/core/workspace.hpp"

#include <cstdint>

#include "support/catch.hpp"

using namespace pare;

TEST_CASE("a workspace grows, stays aligned and is reused", "[core]") {
  Workspace workspace;
  for (const std::size_t size : {1u, 1000u, 17u, 4096u}) {
    std::byte* memory = workspace.reserve(size);
    CHECK(reinterpret_cast<std::uintptr_t>(memory) % tensor_alignment_bytes == 0);
    CHECK(workspace.size_bytes() >= size);
    memory[size - 1] = std::byte{1};
  }
  CHECK(workspace.size_bytes() == 4096);
  CHECK(workspace.reserve(10) == workspace.reserve(4096));
}
