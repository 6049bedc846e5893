#pragma once

#include <string>

#include "pare/kernels/matmul.hpp"

namespace pare {

namespace kernels::detail {

[[nodiscard]] inline std::string describe_choice(KernelName name, const Execution& execution) {
  const std::string forced(to_string(execution.force));
  return std::string(to_string(name)) + (execution.force == KernelName::automatic
                                             ? " (best of this CPU)"
                                         : execution.force == name ? " (forced)"
                                                                   : " (" + forced + " has none)");
}

[[nodiscard]] inline std::string describe_tiles(Index few, Index largest, Index tokens) {
  if (tokens <= few) return ", codes decoded in registers";
  return ", panels decoded for tiles of up to " + std::to_string(largest) + " tokens";
}

[[nodiscard]] inline std::string describe_dense(const std::string& name, bool exact_in_bf16,
                                                const MatmulOutput& output, Index tokens,
                                                const Execution& execution,
                                                ActivationType activations,
                                                Index activation_group) {
  const PackedView& view = output.weight();
  const KernelName force = execution.force;
  if (activations == ActivationType::int8) {
    const Index length = activation_group == -1 ? view.cols : activation_group;
    if (!runs_on_integers(view, length))
      return name +
             (view.codebook ? " x int8: groups of activations end inside units of codes, "
                            : " x int8: the format has no integers, ") +
             "expanded to float32; " +
             describe_dense(name, exact_in_bf16, output, tokens, execution, ActivationType::float32,
                            -1);
    const IntegerKernel& kernel = output.integer_kernel(force);
    const bool row = view.groups() <= 1 && length >= view.cols;
    const Index few = kernel.few.largest(), largest = (row ? kernel.row : kernel.group).largest();
    return name + " x int8: " + describe_choice(kernel.name, execution) +
           (view.code_bits == 8 && tokens > few
                ? ", tiles of up to " + std::to_string(largest) + " tokens"
                : describe_tiles(few, largest, tokens)) +
           (view.codebook->exact ? ", exact 32-bit sums per group"
                                 : ", codebook rounded to 127ths");
  }
  if (activations == ActivationType::bfloat16) {
    if (const Bf16Kernel* kernel = choose_bf16_kernel(output, tokens, force))
      return name + " x bf16: " + describe_choice(kernel->name, execution) +
             describe_tiles(kernel->few.largest(), kernel->tiles.largest(), tokens);
    Execution float_execution = execution;
    float_execution.force = float_force(force);
    return name + " x bf16: " + (exact_in_bf16 ? "" : "codes are not looked up as bf16, ") +
           "activations rounded to bf16; " +
           describe_dense(name, exact_in_bf16, output, tokens, float_execution,
                          ActivationType::float32, -1);
  }
  const FloatKernel& kernel = output.float_kernel(force);
  if (!view.codebook)
    return name + " x float32: " + describe_choice(kernel.name, execution) +
           ", generic kernel: the format decodes panels for tiles of up to " +
           std::to_string(kernel.tiles.largest()) + " tokens";
  return name + " x float32: " + describe_choice(kernel.name, execution) +
         describe_tiles(kernel.few.largest(), kernel.tiles.largest(), tokens);
}

}  // namespace kernels::detail

/// Says which kernel `matmul` (matmul_bf16) runs for `tokens` tokens, and why, in one line:
///
///     int4 x float32: avx512 (best of this CPU), codes decoded in registers
///
/// `activation_group`: columns that share a scale of int8 activations, -1 for the whole row.
/// Errors    ArgumentError as matmul
template <Format F>
[[nodiscard]] std::string describe(const PackedMatrix<F>& w, Index tokens,
                                   const Execution& execution = {},
                                   ActivationType activations = ActivationType::float32,
                                   Index activation_group = -1) {
  return kernels::detail::describe_dense(std::string(F::name), kernels::exact_in_bf16<F>(),
                                         MatmulOutput(w, {}), tokens, execution, activations,
                                         activation_group);
}

/// The same for a sparse weight:
///
///     int8 blocks-32x4 x int8: avx512vnni (best of this CPU), zeros skipped
///
/// What has no kernel for sparse weights expands two panels at a time and runs a dense one.
template <SparseLayout L>
[[nodiscard]] std::string describe(const SparseMatrix<L>& w, Index tokens,
                                   const Execution& execution = {},
                                   ActivationType activations = ActivationType::float32,
                                   Index activation_group = -1) {
  const std::string name = "int8 " + std::string(L::name) + " x ";
  const auto choice = [&](KernelName kernel) {
    return kernels::detail::describe_choice(kernel, execution);
  };
  const MatmulOutput output(w, {});
  const Index length = activation_group == -1 ? w.cols() : activation_group;
  if (activations == ActivationType::int8 &&
      kernels::detail::runs_on_integers(output.weight(), length)) {
    const auto [kernel, sparse, view] =
        kernels::choose_integer_kernel(output, length, execution.force);
    return name + "int8: " + choice(sparse ? sparse->name : kernel->name) +
           (sparse        ? ", zeros skipped"
            : view.sparse ? ", zeros expanded"
                          : kernels::detail::describe_tiles(kernel->few.largest(),
                                                            kernel->row.largest(), tokens));
  }
  if (activations == ActivationType::bfloat16)
    if (const kernels::Bf16Kernel* kernel =
            kernels::choose_bf16_kernel(output, tokens, execution.force))
      return name + "bf16: " + choice(kernel->name) + ", zeros expanded";
  const KernelName force = activations == ActivationType::bfloat16
                               ? kernels::float_force(execution.force)
                               : execution.force;
  return name + "float32: " + choice(output.float_kernel(force).name) + ", zeros expanded";
}

template <std::same_as<AnyPackedMatrix> W>
[[nodiscard]] std::string describe(const W& w, Index tokens, const Execution& execution = {},
                                   ActivationType activations = ActivationType::float32,
                                   Index activation_group = -1) {
  return w.visit([&](const auto& packed) {
    return describe(packed, tokens, execution, activations, activation_group);
  });
}

}  // namespace pare
