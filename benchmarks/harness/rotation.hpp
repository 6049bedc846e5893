#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "pare/core/index.hpp"

namespace bench {

/// Where the weights of a row lie when they are needed.
enum class Memory { warm, cold };

/// Of this many bytes of weights used in turn none is left in a cache.
[[nodiscard]] inline pare::Index cold_bytes() {
  constexpr pare::Index least = 400'000'000;
#if defined(_SC_LEVEL3_CACHE_SIZE)
  // A cache with adaptive replacement keeps part of what is larger than itself.
  return std::max(
      least, static_cast<pare::Index>(2.4 * static_cast<double>(sysconf(_SC_LEVEL3_CACHE_SIZE))));
#else
  return least;
#endif
}

[[nodiscard]] inline pare::Index copies_needed(Memory memory, pare::Index bytes_per_copy) {
  return memory == Memory::warm
             ? 1
             : pare::ceil_div(cold_bytes(), std::max<pare::Index>(1, bytes_per_copy));
}

/// Equal weights at different addresses, used in turn: one when warm, enough to be cold otherwise.
template <class W>
class Rotation {
 public:
  Rotation(W w, pare::Index bytes, Memory memory)
      : copies_(static_cast<std::size_t>(copies_needed(memory, bytes)), w) {}
  [[nodiscard]] const W& operator[](pare::Index use) const {
    return copies_[static_cast<std::size_t>(use) % copies_.size()];
  }

 private:
  std::vector<W> copies_;
};

}  // namespace bench
