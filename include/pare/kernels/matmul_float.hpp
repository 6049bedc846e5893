#pragma once

#include <algorithm>

#include "pare/core/config.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/matmul_blocks.hpp"
#include "pare/kernels/portable/matmul.hpp"
#include "pare/kernels/reference/matmul.hpp"
#include "pare/kernels/scratch.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/matmul_float_avx2.hpp"
#include "pare/kernels/x86/matmul_float_avx512.hpp"
#endif

/// Float activations times packed codes: choice of kernel, arrangement of activations, loops.
namespace pare::kernels {

/// Throws ArgumentError as select_kernel does.
template <class Codes>
[[nodiscard]] const FloatKernel& float_kernel(KernelName force) {
#if PARE_X86_KERNELS
  switch (select_kernel(
      force, {KernelName::avx512, KernelName::avx2, KernelName::portable, KernelName::reference})) {
    case KernelName::avx512:
      return avx512::float_kernel<Codes>;
    case KernelName::avx2:
      return avx2::float_kernel<Codes>;
#else
  switch (select_kernel(force, {KernelName::portable, KernelName::reference})) {
#endif
    case KernelName::portable:
      return portable::float_kernel<Codes>;
    default:
      return reference::float_kernel<Codes>;
  }
}

/// Input channels decoded at a time: with 16 channels 16 KiB of values, half a small L1 cache.
inline constexpr Index decoded_columns = 256;

namespace detail {

/// x[k][count] of one tile, columns in packed order, zero in the padding of groups.
inline void arrange_floats(MatrixView<const float> x, const PackedView& w, Index token, Index count,
                           float* out) noexcept {
  if (w.padded_cols() != w.cols) std::fill_n(out, w.padded_cols() * count, 0.0f);
  for (Index t = 0; t < count; ++t) {
    const float* row = x.data() + (token + t) * x.stride(0);
    for (Index g = 0, p = 0; g < w.groups(); ++g) {
      float* next = out + g * w.padded_group() * count + t;
      for (const Index end = std::min(p + w.group_length, w.cols); p < end; ++p, next += count)
        *next = row[(w.order ? w.order[p] : p) * x.stride(1)];
    }
  }
}

inline void sum_groups(const PackedView& w, const float* x, float* sums) noexcept {
  for (Index g = 0, k = 0; g < w.groups(); ++g) {
    sums[g] = 0.0f;
    for (const Index end = std::min(w.padded_cols(), k + w.padded_group()); k < end; ++k)
      sums[g] += x[k];
  }
}

/// Any number of tokens: each piece of a panel is decoded once and used by every tile.
inline void multiply_decoded(const FloatKernel& kernel, const float* x, const PackedView& w,
                             Index first_panel, Index last_panel, MatrixView<float> y) {
  alignas(tensor_alignment_bytes) float values[decoded_columns * panel_channels];
  const Index step = decoded_columns / w.unit;

  const Index channel = first_panel * panel_channels;
  const Index channels = std::min(last_panel * panel_channels, w.rows) - channel;
  for (Index t = 0; t < y.rows(); ++t) std::fill_n(&y(t, channel), channels, 0.0f);

  for (Index unit = 0; unit < w.first.units; unit += step) {
    const Index units = std::min(step, w.first.units - unit);
    for (Index panel = first_panel; panel < last_panel; ++panel) {
      kernel.decode(w.panel(panel), unit, units, values);
      for_each_tile(kernel.tiles, 0, y.rows(), [&](Index token, Index count) {
        const float* tile = x + token * w.padded_cols() + unit * w.unit * count;
        run_tile(y, token, count, panel * panel_channels, [&](float* out, Index stride) {
          kernel.tiles[count](tile, values, units * w.unit, out, stride);
        });
      });
    }
  }
}

}  // namespace detail

/// y = x wᵀ; shapes fit and y has unit column stride.
inline void matmul_float(const FloatKernel& kernel, MatrixView<const float> x, const PackedView& w,
                         MatrixView<float> y, const Execution& execution) {
  const Index tokens = y.rows(), padded = w.padded_cols();
  Scratch scratch(execution.workspace,
                  Scratch::bytes<float>(tokens * padded) + Scratch::bytes<float>(w.groups()));
  float* arranged = scratch.take<float>(tokens * padded);
  float* sums = scratch.take<float>(w.groups());

  parallel_for_each_tile(execution, kernel.tiles, tokens, 8 * padded,
                         [&](Index token, Index count) {
                           detail::arrange_floats(x, w, token, count, arranged + token * padded);
                         });
  const bool in_registers = tokens == 1 && kernel.gemv;
  if (in_registers && w.first.zero_points) detail::sum_groups(w, arranged, sums);

  for_each_panel_block(execution, w.panels(), 16 * tokens * padded, [&](Index first, Index last) {
    if (!in_registers) return detail::multiply_decoded(kernel, arranged, w, first, last, y);
    for (Index panel = first; panel < last; ++panel)
      run_tile(y, 0, 1, panel * panel_channels,
               [&](float* out, Index) { kernel.gemv(w.panel(panel), arranged, sums, out); });
  });
}

}  // namespace pare::kernels
