#pragma once

#include "pare/kernels/dispatch/bf16.hpp"
#include "pare/kernels/matmul/float.hpp"

/// bf16 activations times packed codes; where no kernel does that, float32 kernels on activations
/// rounded to bf16.
namespace pare::kernels {

/// Input channels decoded to bf16 at a time, at most.
inline constexpr Index decoded_bf16_columns = 2 * largest_tuning.float_columns;

/// The kernel that is forced on float32 where a bf16 one was.
[[nodiscard]] constexpr KernelName float_force(KernelName force) noexcept {
  return lacks_float32(force) ? KernelName::automatic : force;
}

/// Null where the float32 kernel on rounded activations takes its place, or is faster for so few
/// tokens.
[[nodiscard]] inline const Bf16Kernel* choose_bf16_kernel(const MatmulOutput& output, Index tokens,
                                                          KernelName force) {
  const Bf16Kernel* kernel = output.bf16_kernel(force);
  const bool few = kernel && tokens <= kernel->few.largest();
  return few && force == KernelName::automatic && !has_fast_bf16() ? nullptr : kernel;
}

/// Whole groups at a time, or pieces of one: a tile scales its sum over each.
inline void multiply_decoded(const FloatProduct<Bf16Kernel>& p, const FloatArrangement& x,
                             Index first_panel, Index last_panel) {
  constexpr Index most_groups = decoded_bf16_columns / 8;
  alignas(64) std::uint32_t values[decoded_bf16_columns * panel_channels];
  alignas(64) float scales[most_groups * 2 * panel_channels];
  const Index limit = 2 * p.tuning.float_columns / p.w.unit;
  const Index all_units = p.w.first.units, group_units = p.w.first.group_units;
  Index unit = 0;
  do {  // once without columns, for the bias
    const Index to_group_end = group_units - unit % group_units;
    const Index units =
        std::min(all_units - unit, group_units > limit ? std::min(limit, to_group_end)
                                                       : limit / group_units * group_units);
    for (Index panel = first_panel; panel < last_panel; panel += 2) {
      const auto [first, second] = panel_pair(p.w, panel);
      p.kernel->decode(first, unit, units, values, scales);
      p.kernel->decode(second, unit, units, values + panel_channels, scales + panel_channels);
      const Bf16Weights w{values, scales, units * p.w.unit / 4, group_units * p.w.unit / 4};
      for_each_tile(x.tiles(), 0, x.tiles().count(), [&](Index token, Index count) {
        detail::with_float_result<2 * panel_channels>(
            p, token, count, panel * panel_channels, unit == 0, [&](const FloatResult& result) {
              p.kernel->tiles[count](x.tile(token, count, unit * p.w.unit), w, result);
            });
      });
    }
    unit += units;
  } while (unit < all_units);
}

/// Products of the same activations; shapes fit and all have unit column stride.
/// A template as matmul_integer is.
template <std::same_as<std::span<const MatmulOutput>> Outputs>
void matmul_bf16(MatrixView<const float> x, Outputs outputs, const Execution& execution) {
  if (x.rows() == 0) return;
  const auto bf16_kernel = [&](const MatmulOutput& output) {
    return choose_bf16_kernel(output, x.rows(), execution.force);
  };
  const auto float_kernel = [&](const MatmulOutput& output) {
    return bf16_kernel(output) ? nullptr : &output.float_kernel(float_force(execution.force));
  };
  while (!outputs.empty())
    outputs = outputs.subspan(
        bf16_kernel(outputs[0])
            ? detail::multiply_alike(x, outputs, FloatOperand::bf16, execution, bf16_kernel)
            : detail::multiply_alike(x, outputs, FloatOperand::rounded, execution, float_kernel));
}

}  // namespace pare::kernels
