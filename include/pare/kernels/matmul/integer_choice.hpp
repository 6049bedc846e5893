#pragma once

#include "pare/kernels/matmul/segments.hpp"
#include "pare/kernels/matmul_output.hpp"

namespace pare::kernels {

/// How a product with int8 activations runs.
struct IntegerChoice {
  const IntegerKernel* kernel;
  const SparseKernel* sparse;  ///< its tiles skip what is not kept; else null
  PackedView w;                ///< as the kernel reads it; if it is sparse, expanded before
};

/// Throws ArgumentError as select_kernel does.
[[nodiscard]] inline IntegerChoice choose_integer_kernel(const MatmulOutput& output,
                                                         Index activation_group, KernelName force) {
  IntegerChoice choice{&output.integer_kernel(force), nullptr, output.weight()};
  if (!choice.w.sparse) return choice;
  const SparseKernel* sparse = output.sparse_kernel(choice.kernel->name);
  if (!sparse) return choice;
  if (sparse->decoding) {
    const PackedView view = decoding_view(choice.w, *sparse);
    return groups_fit(view, activation_group) ? IntegerChoice{sparse->decoding, nullptr, view}
                                              : choice;
  }
  const PackedView& w = choice.w;
  const bool row = w.groups() == 1 && activation_group >= w.cols && w.cols <= max_row_sum;
  if (row) choice.sparse = sparse;
  return choice;
}

}  // namespace pare::kernels
