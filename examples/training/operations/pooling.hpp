#pragma once

#include <algorithm>

#include "training/operations/image.hpp"
#include "training/operations/product.hpp"

namespace training {

enum class Pooling : std::uint8_t {
  maximum,  ///< of what is inside the image; of equal values the first
  average,  ///< zeros of the padding count, as PyTorch's AvgPool2d has it by default
};

/// PyTorch's MaxPool2d and AvgPool2d.
struct PoolingSettings {
  ImageShape input;
  Pooling kind = Pooling::maximum;
  Windows windows{};

  /// Throws pare::ArgumentError for windows that do not fit, and where one would hold padding
  /// alone.
  [[nodiscard]] ImageShape output() const {
    for (std::size_t axis = 0; axis < 2; ++axis)
      if (2 * windows.padding[axis] > windows.size[axis])
        throw pare::ArgumentError("a padding of " + std::to_string(windows.padding[axis]) +
                                  " is more than half a window of " +
                                  std::to_string(windows.size[axis]));
    const auto [rows, cols] = windows.over(input);
    return {input.channels, rows, cols};
  }
};

/// Calls use(output pixel, visit) for each window; visit(f) calls f(input pixel) for what is inside
/// the image.
template <class Use>
void for_each_window(const PoolingSettings& s, const ImageShape& out, const Use& use) {
  const Index height = s.windows.size[0], width = s.windows.size[1];
  for (Index row = 0; row < out.height; ++row)
    for (Index col = 0; col < out.width; ++col) {
      const Index top = row * s.windows.stride[0] - s.windows.padding[0];
      const Index left = col * s.windows.stride[1] - s.windows.padding[1];
      use(row * out.width + col, [&](const auto& f) {
        for (Index y = std::max<Index>(0, top); y < std::min(s.input.height, top + height); ++y)
          for (Index x = std::max<Index>(0, left); x < std::min(s.input.width, left + width); ++x)
            f(y * s.input.width + x);
      });
    }
}

/// The pixel with the largest value, NaN before all others.
template <Scalar S, class Visit>
[[nodiscard]] Index largest_pixel(const S* plane, const Visit& visit) {
  Index best = -1;
  visit([&](Index pixel) {
    const double value = value_of(plane[pixel]);
    if (best < 0 || value > value_of(plane[best]) || value != value) best = pixel;
  });
  return best;
}

/// Shapes    x (batch, input), y (batch, output), replaced; rows contiguous
template <Scalar S>
void pooling(const PoolingSettings& s, pare::MatrixView<const S> x, pare::MatrixView<S> y,
             const pare::Execution& execution) {
  const ImageShape out = s.output();
  const S share = scalar<S>(1.0 / static_cast<double>(s.windows.size[0] * s.windows.size[1]));
  execution.parallel_for(x.rows() * out.channels, [&](Index task) {
    const Index n = task / out.channels, channel = task % out.channels;
    const S* const plane = &x(n, channel * s.input.pixels());
    S* const pooled = &y(n, channel * out.pixels());
    for_each_window(s, out, [&](Index pixel, const auto& visit) {
      if (s.kind == Pooling::maximum) {
        pooled[pixel] = plane[largest_pixel(plane, visit)];
        return;
      }
      S sum{};
      visit([&](Index from) { sum += plane[from]; });
      pooled[pixel] = sum * share;
    });
  });
}

/// dx += the gradient of x.
template <Scalar S>
void pooling_backward(const PoolingSettings& s, pare::MatrixView<const S> dy,
                      pare::MatrixView<const S> x, pare::MatrixView<S> dx,
                      const pare::Execution& execution) {
  const ImageShape out = s.output();
  const S share = scalar<S>(1.0 / static_cast<double>(s.windows.size[0] * s.windows.size[1]));
  execution.parallel_for(x.rows() * out.channels, [&](Index task) {
    const Index n = task / out.channels, channel = task % out.channels;
    const S* const plane = &x(n, channel * s.input.pixels());
    const S* const upstream = &dy(n, channel * out.pixels());
    S* const gradient = &dx(n, channel * s.input.pixels());
    for_each_window(s, out, [&](Index pixel, const auto& visit) {
      if (s.kind == Pooling::maximum)
        gradient[largest_pixel(plane, visit)] += upstream[pixel];
      else
        visit([&](Index to) { gradient[to] += upstream[pixel] * share; });
    });
  });
}

}  // namespace training
