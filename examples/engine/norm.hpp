#pragma once

#include "engine/block_description.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

namespace engine {

/// A norm's tensors as they are stored.
struct Norm {
  pare::Vector<float> weight, bias;  // the bias may be empty

  [[nodiscard]] bool empty() const noexcept { return weight.empty(); }
};

/// y = norm(x), row by row: x and y (tokens, features), which may be the same memory. Where the
/// weight is shorter than a row, each part of the row as long as it is normed by itself.
void apply_norm(const NormDescription& description, const Norm& norm,
                pare::MatrixView<const float> x, pare::MatrixView<float> y,
                const pare::Execution& execution);

/// Parts of each row of x, as long as `width`, each with the next `width` weights.
void apply_norm_of_heads(const NormDescription& description, const Norm& norm, Index width,
                         pare::MatrixView<float> x, const pare::Execution& execution);

}  // namespace engine
