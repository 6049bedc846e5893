#pragma once

#include <algorithm>

#include "training/operations/image.hpp"
#include "training/operations/product.hpp"

namespace training {

/// PyTorch's Conv2d: each group of output channels reads its group of input channels.
struct ConvolutionSettings {
  ImageShape input;
  Index channels = 0;  ///< that come out
  Windows windows{};
  Index groups = 1;

  /// What a weight of one output channel covers.
  [[nodiscard]] Index taps() const noexcept {
    return input.channels / groups * windows.size[0] * windows.size[1];
  }
  /// Throws pare::ArgumentError for windows that do not fit and groups that do not divide channels.
  [[nodiscard]] ImageShape output() const {
    if (groups < 1 || channels < 1 || input.channels % groups != 0 || channels % groups != 0)
      throw pare::ArgumentError(std::to_string(groups) + " groups do not divide " +
                                std::to_string(input.channels) + " channels and the " +
                                std::to_string(channels) + " that come out");
    const auto [rows, cols] = windows.over(input);
    return {channels, rows, cols};
  }
};

/// Some images and one group of channels: what a task multiplies at once. Cut by shapes alone, so
/// that sums have one order for any threads.
struct ConvolutionTask {
  Index first, images, group;
  Index pixels;               ///< of all these images, that come out
  Index inputs, outputs;      ///< channels of a group
  Index output_pixels, taps;  ///< of an image; of a weight

  ConvolutionTask(const ConvolutionSettings& s, const ImageShape& out, Index batch, Index task)
      : first(task / s.groups * images_of(out)),
        images(std::min(images_of(out), batch - first)),
        group(task % s.groups),
        pixels(images * out.pixels()),
        inputs(s.input.channels / s.groups),
        outputs(s.channels / s.groups),
        output_pixels(out.pixels()),
        taps(s.taps()) {}

  /// Enough pixels to make products large; more would leave threads without work.
  [[nodiscard]] static Index images_of(const ImageShape& out) {
    return std::max<Index>(1, 1024 / out.pixels());
  }
  [[nodiscard]] static Index count(const ConvolutionSettings& s, const ImageShape& out,
                                   Index batch) {
    return pare::ceil_div(batch, images_of(out)) * s.groups;
  }
};

/// Calls use(tap, first output pixel, first input value, count, image) for all that is inside the
/// images: `count` pixels of a row that a tap of the kernel is at, as far apart as the stride.
template <class Use>
void for_each_run(const ConvolutionSettings& s, const ImageShape& out, const ConvolutionTask& task,
                  const Use& use) {
  const auto [height, width] = s.windows.size;
  const auto [down, right] = s.windows.stride;
  const auto [above, left] = s.windows.padding;
  for (Index tap = 0; tap < task.taps; ++tap) {
    const Index channel = tap / (height * width), ky = tap / width % height, kx = tap % width;
    // The columns whose input is not in the padding.
    const Index begin = kx < left ? pare::ceil_div(left - kx, right) : 0;
    const Index room = s.input.width - 1 + left - kx;
    const Index end = room < 0 ? 0 : std::min(out.width, room / right + 1);
    if (begin >= end) continue;
    for (Index n = 0; n < task.images; ++n)
      for (Index row = 0; row < out.height; ++row) {
        const Index y = row * down + ky - above;
        if (y < 0 || y >= s.input.height) continue;
        use(tap, n * task.output_pixels + row * out.width + begin,
            ((task.group * task.inputs + channel) * s.input.height + y) * s.input.width +
                begin * right + kx - left,
            end - begin, n);
      }
  }
}

/// What every output pixel of a task reads, (taps, pixels); 0 in the padding.
template <Scalar S>
void gather_taps(const ConvolutionSettings& s, const ImageShape& out, const ConvolutionTask& task,
                 pare::MatrixView<const S> x, pare::MatrixView<S> taps) {
  std::fill_n(taps.data(), taps.size(), S{});
  const Index step = s.windows.stride[1];
  for_each_run(s, out, task, [&](Index tap, Index to, Index from, Index count, Index n) {
    const S* const in = &x(task.first + n, from);
    S* const gathered = &taps(tap, to);
    for (Index i = 0; i < count; ++i) gathered[i] = in[i * step];
  });
}

/// Moves channels of a task between images (batch, channels * pixels) and a matrix of their own
/// (channels, images * pixels): move(a run of the one, of the other).
template <class A, class B, class Move>
void for_each_channel(const ConvolutionTask& task, pare::MatrixView<A> images,
                      pare::MatrixView<B> own, const Move& move) {
  for (Index channel = 0; channel < task.outputs; ++channel)
    for (Index n = 0; n < task.images; ++n)
      move(&images(task.first + n, (task.group * task.outputs + channel) * task.output_pixels),
           &own(channel, n * task.output_pixels), task.group * task.outputs + channel);
}

/// y = w * x + b
///
/// Shapes    x (batch, input), w (channels, taps) as PyTorch stores it: input channels of the
///           group, rows, columns; bias (1, channels) or empty; y (batch, output), replaced;
///           rows contiguous
template <Scalar S>
void convolution(const ConvolutionSettings& s, pare::MatrixView<const S> x,
                 pare::MatrixView<const S> w, pare::MatrixView<const S> bias, pare::MatrixView<S> y,
                 const pare::Execution& execution) {
  const ImageShape out = s.output();
  execution.parallel_for(ConvolutionTask::count(s, out, x.rows()), [&](Index number) {
    const ConvolutionTask task(s, out, x.rows(), number);
    thread_local pare::AlignedVector<S> memory;
    memory.resize(static_cast<std::size_t>((task.taps + task.outputs) * task.pixels));
    const pare::MatrixView<S> taps(memory.data(), {task.taps, task.pixels});
    const pare::MatrixView<S> own(memory.data() + taps.size(), {task.outputs, task.pixels});
    gather_taps(s, out, task, x, taps);
    std::fill_n(own.data(), own.size(), S{});
    add_product<S>(1.0, w.slice(0, task.group * task.outputs, task.outputs), taps, own);
    for_each_channel(task, y, own, [&](S* to, const S* from, Index channel) {
      const S b = bias.empty() ? S{} : bias(0, channel);
      for (Index i = 0; i < task.output_pixels; ++i) to[i] = from[i] + b;
    });
  });
}

/// dw += the gradient of w, dbias that of the bias, dx that of x; of these an empty view is left
/// out.
template <Scalar S>
void convolution_backward(const ConvolutionSettings& s, pare::MatrixView<const S> dy,
                          pare::MatrixView<const S> x, pare::MatrixView<const S> w,
                          pare::MatrixView<S> dw, pare::MatrixView<S> dbias, pare::MatrixView<S> dx,
                          const pare::Execution& execution) {
  const ImageShape out = s.output();
  const Index tasks = ConvolutionTask::count(s, out, x.rows());
  // Each task's part of dw and, behind it, of dbias.
  const Index outputs = s.channels / s.groups;
  pare::Matrix<S> parts({tasks, outputs * (s.taps() + 1)});
  execution.parallel_for(tasks, [&](Index number) {
    const ConvolutionTask task(s, out, x.rows(), number);
    thread_local pare::AlignedVector<S> memory;
    memory.resize(static_cast<std::size_t>((task.taps + task.outputs) * task.pixels));
    const pare::MatrixView<S> taps(memory.data(), {task.taps, task.pixels});
    const pare::MatrixView<S> own(memory.data() + taps.size(), {task.outputs, task.pixels});
    S* const sums = &parts(number, outputs * task.taps);
    for_each_channel(task, dy, own, [&](const S* from, S* to, Index channel) {
      std::copy_n(from, task.output_pixels, to);
      S sum{};
      for (Index i = 0; i < task.output_pixels; ++i) sum += from[i];
      sums[channel % outputs] += sum;
    });
    if (!dw.empty()) {
      gather_taps(s, out, task, x, taps);
      add_product<S>(1.0, own, taps.transposed(),
                     pare::MatrixView<S>(&parts(number, 0), {outputs, task.taps}));
    }
    if (dx.empty()) return;
    std::fill_n(taps.data(), taps.size(), S{});
    add_product<S>(1.0, w.slice(0, task.group * task.outputs, task.outputs).transposed(), own,
                   taps);
    const Index step = s.windows.stride[1];
    for_each_run(s, out, task, [&](Index tap, Index from, Index to, Index count, Index n) {
      const S* const gradient = &taps(tap, from);
      S* const in = &dx(task.first + n, to);
      for (Index i = 0; i < count; ++i) in[i * step] += gradient[i];
    });
  });
  execution.parallel_for(s.channels, [&](Index channel) {
    const Index own = channel % outputs;
    for (Index number = channel / outputs; number < tasks; number += s.groups) {
      if (!dw.empty())
        for (Index tap = 0; tap < s.taps(); ++tap)
          dw(channel, tap) += parts(number, own * s.taps() + tap);
      if (!dbias.empty()) dbias(0, channel) += parts(number, outputs * s.taps() + own);
    }
  });
}

}  // namespace training
