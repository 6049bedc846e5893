#include "pare/core/workspace.hpp"

#include <cstdint>
#include <cstring>

#include "support/catch.hpp"

using namespace pare;

TEST_CASE("a workspace is a stack of aligned memory that grows and is reused", "[core]") {
  Workspace workspace;
  for (int round = 0; round < 2; ++round) {
    std::byte* outer = workspace.take(1000);
    std::memset(outer, 1, 1000);
    std::byte* inner = workspace.take(100'000);
    std::memset(inner, 2, 100'000);
    CHECK(reinterpret_cast<std::uintptr_t>(outer) % tensor_alignment_bytes == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(inner) % tensor_alignment_bytes == 0);
    CHECK(outer[999] == std::byte{1});
    workspace.give_back(100'000);
    const std::byte* const again = workspace.take(17);
    if (round == 1) CHECK(again == inner);
    workspace.give_back(17);
    workspace.give_back(1000);
  }
  // The second round found everything in one block.
  CHECK(workspace.size_bytes() == 1024 + 100'032);
}

TEST_CASE("taking nothing gives valid memory", "[core]") {
  Workspace workspace;
  CHECK(workspace.take(0) != nullptr);
  workspace.give_back(0);
}
