#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <span>
#include <type_traits>

#include "pare/kernels/layout/expanded_pair.hpp"
#include "pare/kernels/matmul/float_arrangement.hpp"
#include "pare/kernels/matmul_output.hpp"

/// Float activations times packed codes: arrangement of activations, loops, memory.
namespace pare::kernels {

/// A product whose activations are arranged.
template <class Kernel>
struct FloatProduct {
  const Kernel* kernel;
  PackedView w;
  MatrixView<float> y;
  bool accumulate;
  const float* bias;  ///< [panels][16]
  MatmulTuning tuning;
};

namespace detail {

/// Runs `tile(result)` on y's part for `count` tokens and `Channels` channels from `channel` on;
/// on a copy where the matrix has fewer left, of tokens or of channels.
template <Index Channels, class Kernel, class Tile>
void with_float_result(const FloatProduct<Kernel>& p, Index token, Index count, Index channel,
                       bool first, Tile&& tile) {
  const Index channels = std::min(p.y.cols() - channel, Channels);
  const Index rows = std::min(p.y.rows() - token, count);
  FloatResult result{&p.y(token, channel), p.y.stride(0), first ? p.bias + channel : nullptr,
                     p.accumulate};
  if (channels == Channels && rows == count) return tile(result);
  float edge[max_tile_tokens * Channels];
  std::fill_n(edge, count * Channels, 0.0f);
  for (Index t = 0; t < rows; ++t)
    std::copy_n(&p.y(token + t, channel), channels, edge + t * Channels);
  result.y = edge;
  result.y_stride = Channels;
  tile(result);
  for (Index t = 0; t < rows; ++t)
    std::copy_n(edge + t * Channels, channels, &p.y(token + t, channel));
}

}  // namespace detail

/// Two panels that tiles read side by side; a last one without a neighbour is its own, and the
/// result is dropped.
[[nodiscard]] inline std::array<PackedPanel, 2> panel_pair(const PackedView& w,
                                                           Index panel) noexcept {
  return {w.panel(panel), w.panel(std::min(panel + 1, w.panels() - 1))};
}

/// Each piece of two panels is decoded once and used by every tile; the activations of a piece stay
/// near for all panels.
inline void multiply_decoded(const FloatProduct<FloatKernel>& p, const FloatArrangement& x,
                             Index first_panel, Index last_panel) {
  alignas(64) float values[largest_tuning.float_columns * 2 * panel_channels];
  const Index step = p.tuning.float_columns / p.w.unit;
  Index unit = 0;
  do {  // once without columns, for the bias
    const Index units = std::min(step, p.w.first.units - unit);
    for (Index panel = first_panel; panel < last_panel; panel += 2) {
      const auto [first, second] = panel_pair(p.w, panel);
      p.kernel->decode(first, unit, units, values);
      p.kernel->decode(second, unit, units, values + panel_channels);
      for_each_tile(x.tiles(), 0, x.tiles().count(), [&](Index token, Index count) {
        detail::with_float_result<2 * panel_channels>(
            p, token, count, panel * panel_channels, unit == 0, [&](const FloatResult& result) {
              p.kernel->tiles[count](x.tile(token, count, unit * p.w.unit), values,
                                     units * p.w.unit, result);
            });
      });
    }
    unit += step;
  } while (unit < p.w.first.units);
}

namespace detail {

template <class Kernel>
void multiply_panels(const FloatProduct<Kernel>& p, const FloatArrangement& x, Index first,
                     Index last);

/// The same of a sparse weight.
template <class Kernel>
void multiply_expanded(const FloatProduct<Kernel>& p, const FloatArrangement& x, Index first,
                       Index last) {
  ExpandedPair pair(p.w);
  for (Index panel = first; panel < last; panel += 2) {
    const Index channel = panel * panel_channels;
    FloatProduct<Kernel> part = p;
    part.w = pair.expand(panel);
    part.y = p.y.slice(1, channel, part.w.rows);
    part.bias += channel;
    multiply_panels(part, x, 0, part.w.panels());
  }
}

/// Panels [first, last) of a product.
template <class Kernel>
void multiply_panels(const FloatProduct<Kernel>& p, const FloatArrangement& x, Index first,
                     Index last) {
  if (p.w.sparse) return multiply_expanded(p, x, first, last);
  const Index tokens = x.tiles().tokens();
  if (tokens > p.kernel->few.largest()) return multiply_decoded(p, x, first, last);
  for (Index panel = first; panel < last; ++panel)
    with_float_result<panel_channels>(
        p, 0, tokens, panel * panel_channels, true, [&](const FloatResult& result) {
          p.kernel->few[tokens](p.w.panel(panel), x.tile(0, tokens, 0), x.group_sums(), result);
        });
}

template <class Kernel>
[[nodiscard]] FloatArrangementShape float_shape(const Kernel& kernel, const PackedView& w,
                                                Index tokens, FloatOperand operand) {
  const bool few = tokens <= kernel.few.largest();
  FloatArrangementShape shape{w.group_length,
                              w.padded_group(),
                              w.padded_cols(),
                              w.order,
                              few ? tokens : kernel.tiles.largest(),
                              few ? 1 : kernel.tiles.step(),
                              few && w.first.zero_points && operand != FloatOperand::bf16,
                              operand};
  if constexpr (requires { kernel.token_rows; })
    if (kernel.token_rows && !few) {
      shape.operand = FloatOperand::bf16_rows;
      shape.step_columns = 2 * step_pairs(w.padded_group() / 4);
    }
  return shape;
}

/// Products whose activations are arranged alike: one loop over the panels of all of them.
template <class Kernel>
void multiply_floats(std::span<const FloatProduct<Kernel>> products, const FloatArrangement& x,
                     const Execution& execution) {
  std::array<Index, max_matmul_outputs + 1> first_block{};
  std::array<Index, max_matmul_outputs> block_panels{};
  for (std::size_t i = 0; i < products.size(); ++i) {
    const PackedView& w = products[i].w;
    block_panels[i] =
        panel_block(panel_channels * x.tiles().tokens() * w.padded_cols(), execution.tuning);
    first_block[i + 1] = first_block[i] + ceil_div(w.panels(), block_panels[i]);
  }
  execution.parallel_for(first_block[products.size()], [&](Index block) {
    std::size_t i = 0;
    while (block >= first_block[i + 1]) ++i;
    const Index first = (block - first_block[i]) * block_panels[i];
    multiply_panels(products[i], x, first,
                    std::min(first + block_panels[i], products[i].w.panels()));
  });
}

/// The first of the outputs and those after it whose activations are arranged like its; `kernel_of`
/// gives an output's kernel, or null where another kind multiplies it. Returns how many these are.
template <class KernelOf>
std::size_t multiply_alike(MatrixView<const float> x, std::span<const MatmulOutput> outputs,
                           FloatOperand operand, const Execution& execution, KernelOf&& kernel_of) {
  using Kernel = std::remove_cvref_t<decltype(*kernel_of(outputs[0]))>;
  outputs = outputs.first(std::min(outputs.size(), max_matmul_outputs));
  const auto shape_of = [&](const MatmulOutput& output) {
    return float_shape(*kernel_of(output), output.weight(), x.rows(), operand);
  };
  const FloatArrangementShape shape = shape_of(outputs[0]);
  std::size_t count = 1;
  while (count < outputs.size() && kernel_of(outputs[count]) &&
         shape_of(outputs[count]).same(shape, x.cols()))
    ++count;
  outputs = outputs.first(count);

  Index padded_rows = 0;
  for (const MatmulOutput& output : outputs)
    padded_rows += round_up(output.weight().rows, 2 * panel_channels);
  Scratch scratch(execution.workspace, Scratch::bytes<float>(padded_rows));
  float* bias = scratch.take<float>(padded_rows);
  std::fill_n(bias, padded_rows, 0.0f);
  std::array<FloatProduct<Kernel>, max_matmul_outputs> products{};
  for (std::size_t i = 0; i < count; ++i) {
    const MatmulOutput& output = outputs[i];
    const PackedView& w = output.weight();
    products[i] = {kernel_of(output),           w,    output.y(),
                   output.options().accumulate, bias, execution.tuning};
    if (!output.options().bias.empty())
      for (Index n = 0; n < w.rows; ++n) bias[n] = output.options().bias[n];
    bias += round_up(w.rows, 2 * panel_channels);
  }
  FloatArrangement arrangement(x, shape, execution.workspace);
  arrangement.arrange(execution);
  multiply_floats(std::span<const FloatProduct<Kernel>>(products.data(), count), arrangement,
                  execution);
  return count;
}

}  // namespace detail

/// Products of the same activations; shapes fit and all have unit column stride.
/// A template as matmul_integer is.
template <std::same_as<std::span<const MatmulOutput>> Outputs>
void matmul_float(MatrixView<const float> x, Outputs outputs, const Execution& execution) {
  if (x.rows() == 0) return;
  while (!outputs.empty())
    outputs = outputs.subspan(detail::multiply_alike(
        x, outputs, FloatOperand::f32, execution,
        [&](const MatmulOutput& output) { return &output.float_kernel(execution.force); }));
}

}  // namespace pare::kernels
