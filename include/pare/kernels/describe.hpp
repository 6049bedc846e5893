#pragma once

#include <string>

#include "pare/kernels/matmul.hpp"

namespace pare {

/// What a matmul's activations are.
enum class ActivationType : std::uint8_t { float32, int8 };

namespace kernels::detail {

[[nodiscard]] inline std::string describe_choice(KernelName name, const Execution& execution) {
  return std::string(to_string(name)) +
         (execution.force == KernelName::automatic ? " (best of this CPU)" : " (forced)");
}

}  // namespace kernels::detail

/// Says which kernel `matmul` runs for `tokens` tokens, and why, in one line:
///
///     int4 x float32: avx512 (best of this CPU), one token, codes decoded in registers
///
/// Errors    ArgumentError as matmul
template <Format F>
[[nodiscard]] std::string describe(const PackedMatrix<F>& w, Index tokens,
                                   const Execution& execution = {},
                                   ActivationType activations = ActivationType::float32) {
  const std::string name(F::name);
  if (activations == ActivationType::int8) {
    if constexpr (kernels::has_integer_kernel<F>)
      if (kernels::detail::runs_on_integers(w))
        return name + " x int8: " +
               kernels::detail::describe_choice(
                   kernels::integer_kernel<F::code_bits>(execution.force).name, execution) +
               ", exact 32-bit sums per group";
    return name + " x int8: " +
           (kernels::has_integer_kernel<F> ? "groups too long for 32-bit sums"
                                           : "no integer kernel of this format") +
           ", activations expanded to float32; " + describe(w, tokens, execution);
  }
  const kernels::FloatKernel& kernel =
      kernels::float_kernel<typename PackedMatrix<F>::Codes>(execution.force);
  return name + " x float32: " + kernels::detail::describe_choice(kernel.name, execution) +
         (tokens == 1 && kernel.gemv ? ", one token, codes decoded in registers"
                                     : ", panels decoded to float32, tiles of up to " +
                                           std::to_string(kernel.tiles.largest()) + " tokens");
}

template <std::same_as<AnyPackedMatrix> W>
[[nodiscard]] std::string describe(const W& w, Index tokens, const Execution& execution = {},
                                   ActivationType activations = ActivationType::float32) {
  return w.visit(
      [&](const auto& packed) { return describe(packed, tokens, execution, activations); });
}

}  // namespace pare
