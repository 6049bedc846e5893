#pragma once

#include <cstddef>

#include "pare/core/workspace.hpp"

namespace pare::kernels {

/// Arrays cut from one piece of the caller's workspace, or of an own one without it.
///
///     Scratch scratch(execution.workspace, Scratch::bytes<float>(n) + Scratch::bytes<int>(m));
///     float* x = scratch.take<float>(n);
class Scratch {
 public:
  Scratch(Workspace* workspace, std::size_t size_bytes)
      : workspace_(workspace ? *workspace : own_),
        size_bytes_(size_bytes),
        next_(workspace_.take(size_bytes)) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { workspace_.give_back(size_bytes_); }

  /// Room of an array of `count` elements, which starts on a cache line.
  template <class T>
  [[nodiscard]] static constexpr std::size_t bytes(Index count) noexcept {
    return static_cast<std::size_t>(round_up(count * static_cast<Index>(sizeof(T)),
                                             static_cast<Index>(tensor_alignment_bytes)));
  }

  template <class T>
  [[nodiscard]] T* take(Index count) noexcept {
    T* array = reinterpret_cast<T*>(next_);
    next_ += bytes<T>(count);
    return array;
  }

 private:
  Workspace own_;
  Workspace& workspace_;
  std::size_t size_bytes_;
  std::byte* next_;
};

}  // namespace pare::kernels
