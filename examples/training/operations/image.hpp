#pragma once

#include <array>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"

namespace training {

using pare::Index;

/// What a row of a batch of images holds: channels, each of rows of pixels, NCHW without the N.
struct ImageShape {
  Index channels = 0, height = 1, width = 1;

  [[nodiscard]] Index pixels() const noexcept { return height * width; }
  [[nodiscard]] Index size() const noexcept { return channels * pixels(); }
  friend bool operator==(const ImageShape&, const ImageShape&) = default;
};

[[nodiscard]] inline std::string to_string(const ImageShape& shape) {
  return std::to_string(shape.channels) + " x " + std::to_string(shape.height) + " x " +
         std::to_string(shape.width);
}

/// Windows that slide over an image: what convolutions and pooling read. Pairs are of rows and of
/// columns.
struct Windows {
  std::array<Index, 2> size{1, 1}, stride{1, 1}, padding{0, 0};

  /// As many as fit, whole. Throws pare::ArgumentError where none does, and for sizes and strides
  /// that are none.
  [[nodiscard]] std::array<Index, 2> over(const ImageShape& image) const {
    const std::array<Index, 2> extent{image.height, image.width};
    std::array<Index, 2> count{};
    for (std::size_t axis = 0; axis < 2; ++axis) {
      if (size[axis] < 1 || stride[axis] < 1 || padding[axis] < 0)
        throw pare::ArgumentError(
            "windows need a size and a stride of at least 1, and a padding "
            "of at least 0; there are " +
            std::to_string(size[axis]) + ", " + std::to_string(stride[axis]) + " and " +
            std::to_string(padding[axis]));
      const Index room = extent[axis] + 2 * padding[axis] - size[axis];
      if (room < 0)
        throw pare::ArgumentError("a window of " + std::to_string(size[0]) + " x " +
                                  std::to_string(size[1]) + " does not fit an image of " +
                                  to_string(image) + " with its padding");
      count[axis] = room / stride[axis] + 1;
    }
    return count;
  }
};

}  // namespace training
