#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "pare/core/index.hpp"

namespace bench {

using Bytes = std::span<const std::byte>;

/// The bytes of any contiguous array, for Workload::reads.
template <class T>
[[nodiscard]] Bytes bytes_of(const T* data, pare::Index size) {
  return std::as_bytes(std::span(data, static_cast<std::size_t>(size)));
}
template <class Container>
[[nodiscard]] Bytes bytes_of(const Container& c) {
  return bytes_of(c.data(), static_cast<pare::Index>(c.size()));
}

[[nodiscard]] pare::Index total_bytes(std::span<const Bytes> buffers);

/// How each thread walks its share of a buffer.
struct ReadPlan {
  int streams = 1;
  bool prefetch = false;
};

/// All plans that compete for the title of bandwidth limit.
inline constexpr ReadPlan read_plans[] = {{1, false}, {1, true}, {2, false}, {2, true}};

/// Reads every byte once and does nothing else: each buffer is cut into contiguous shares, one
/// per thread, as matmuls cut their weights.
void read_all(std::span<const Bytes> buffers, int threads, ReadPlan plan);

}  // namespace bench
