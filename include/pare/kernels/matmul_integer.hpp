#pragma once

#include <algorithm>
#include <cstring>

#include "pare/core/config.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/matmul_blocks.hpp"
#include "pare/kernels/portable/matmul.hpp"
#include "pare/kernels/quantized_activations.hpp"
#include "pare/kernels/reference/matmul.hpp"
#include "pare/kernels/scratch.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/matmul_integer_avx2.hpp"
#include "pare/kernels/x86/matmul_integer_avx512vnni.hpp"
#endif

/// int8 activations times packed integer codes: choice of kernel, arrangement, loops.
///
///     y = s_x sum_g s_wg (sum a u - z_wg sum a) - s_x z_x sum w
///
/// a: activation codes, u: stored weight codes. The sums in parentheses are exact; the last term
/// comes from the row sums of the packed matrix and is there for static zero points only.
namespace pare::kernels {

/// Throws ArgumentError as select_kernel does.
template <int Bits>
[[nodiscard]] const IntegerKernel& integer_kernel(KernelName force) {
#if PARE_X86_KERNELS
  switch (select_kernel(force, {KernelName::avx512vnni, KernelName::avx2, KernelName::portable,
                                KernelName::reference})) {
    case KernelName::avx512vnni:
      return avx512vnni::integer_kernel<Bits>;
    case KernelName::avx2:
      return avx2::integer_kernel<Bits>;
#else
  switch (select_kernel(force, {KernelName::portable, KernelName::reference})) {
#endif
    case KernelName::portable:
      return portable::integer_kernel<Bits>;
    default:
      return reference::integer_kernel<Bits>;
  }
}

namespace detail {

/// Codes [k/4][count][4] and offsets [group][count] of one tile.
inline void arrange_codes(const QuantizedActivations& x, const PackedView& w, Index token,
                          Index count, std::int8_t* codes, std::int32_t* offsets) noexcept {
  const std::int32_t factor = w.first.zero_points ? -1 : -w.center;
  if (w.padded_cols() != w.cols) std::fill_n(codes, w.padded_cols() * count, std::int8_t{0});
  for (Index t = 0; t < count; ++t) {
    const std::int8_t* row = x.codes.data() + (token + t) * w.cols;
    for (Index g = 0; g < w.groups(); ++g) {
      std::int8_t* out = codes + g * w.padded_group() * count + 4 * t;
      const Index begin = g * w.group_length, length = std::min(w.group_length, w.cols - begin);
      std::int32_t sum = 0;
      for (Index k = 0; k < length; k += 4, out += 4 * count) {
        std::int8_t four[4] = {};
        if (!w.order && length - k >= 4)
          std::memcpy(four, row + begin + k, 4);
        else
          for (Index i = 0; i < std::min<Index>(4, length - k); ++i)
            four[i] = row[w.order ? w.order[begin + k + i] : begin + k + i];
        std::memcpy(out, four, 4);
        sum += four[0] + four[1] + four[2] + four[3];
      }
      offsets[g * count + t] = factor * sum;
    }
  }
}

/// Subtracts what the activations' zero point adds to the channels of some panels.
inline void subtract_zero_point(const QuantizedActivations& x, const PackedView& w,
                                Index first_panel, Index last_panel, MatrixView<float> y) noexcept {
  const Index last = std::min(last_panel * panel_channels, w.rows);
  for (Index t = 0; t < y.rows(); ++t) {
    const float shift = x.scales[t] * static_cast<float>(x.zero_point);
    for (Index n = first_panel * panel_channels; n < last; ++n) y(t, n) -= shift * w.row_sums[n];
  }
}

}  // namespace detail

/// y = x wᵀ; shapes fit and y has unit column stride.
inline void matmul_integer(const IntegerKernel& kernel, const QuantizedActivations& x,
                           const PackedView& w, MatrixView<float> y, const Execution& execution) {
  const Index tokens = y.rows(), padded = w.padded_cols(), groups = w.groups();
  Scratch scratch(execution.workspace, Scratch::bytes<std::int8_t>(tokens * padded) +
                                           Scratch::bytes<std::int32_t>(tokens * groups));
  auto* codes = scratch.take<std::int8_t>(tokens * padded);
  auto* offsets = scratch.take<std::int32_t>(tokens * groups);

  parallel_for_each_tile(
      execution, kernel.tiles, tokens, 8 * padded, [&](Index token, Index count) {
        detail::arrange_codes(x, w, token, count, codes + token * padded, offsets + token * groups);
      });
  for_each_panel_block(execution, w.panels(), 16 * tokens * padded, [&](Index first, Index last) {
    for_each_tile(kernel.tiles, 0, tokens, [&](Index token, Index count) {
      const IntegerTokens tile{codes + token * padded, offsets + token * groups,
                               x.scales.data() + token};
      for (Index panel = first; panel < last; ++panel)
        run_tile(y, token, count, panel * panel_channels, [&](float* out, Index stride) {
          kernel.tiles[count](w.panel(panel), tile, out, stride);
        });
    });
    if (x.zero_point != 0) detail::subtract_zero_point(x, w, first, last, y);
  });
}

}  // namespace pare::kernels
