#pragma once

#include <string>
#include <utility>

#include "pare/core/tensor.hpp"

namespace training {

using pare::Index;

/// What is learned: a tensor of a model, a vector as one row.
template <class S>
struct Parameter {
  std::string name;  ///< of the tensor in the checkpoint
  pare::Matrix<S> value;
  pare::Matrix<S> gradient;  ///< operations add to it
  /// Weight decay is for matrices of layers, not for norms, biases and positions.
  bool decays = true;
  /// What operations read in place of the value, where it is not empty: a pruned or a quantized
  /// version. The gradient is then that with respect to it.
  pare::Matrix<S> used{};

  Parameter(std::string its_name, pare::Matrix<S> its_value, bool decay)
      : name(std::move(its_name)),
        value(std::move(its_value)),
        gradient(value.shape()),
        decays(decay) {}

  [[nodiscard]] pare::MatrixView<const S> read() const noexcept {
    return used.empty() ? value.view() : used.view();
  }
};

}  // namespace training
