#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "pare/core/tensor.hpp"
#include "pare/kernels/any_packed_matrix.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/kernels/matmul.hpp"
#include "pare/kernels/quantized_activations.hpp"

namespace engine {

using pare::Index;

/// The input of linear layers that share it: its 8-bit form is made once for all of them.
class LinearInput {
 public:
  explicit LinearInput(pare::MatrixView<const float> x) : x_(x) {}

  [[nodiscard]] pare::MatrixView<const float> values() const noexcept { return x_; }

  [[nodiscard]] const pare::QuantizedActivations& quantized(const pare::ActivationOptions& options,
                                                            const pare::Execution& execution) {
    if (!quantized_ || options_.scale != options.scale ||
        options_.zero_point != options.zero_point) {
      quantized_ = pare::quantize_activations(x_, options, execution);
      options_ = options;
    }
    return *quantized_;
  }

 private:
  pare::MatrixView<const float> x_;
  pare::ActivationOptions options_{};
  std::optional<pare::QuantizedActivations> quantized_;
};

/// y = x Wᵀ + bias with W in float32 or in any packed format, x in float32 or quantized to 8 bits.
class Linear {
 public:
  Linear() = default;
  explicit Linear(pare::Matrix<float> weight) : dense_(std::move(weight)) {}
  Linear(pare::AnyPackedMatrix weight, std::optional<pare::ActivationOptions> activations)
      : packed_(std::move(weight)), activations_(activations) {}

  void set_bias(pare::Vector<float> bias) { bias_ = std::move(bias); }

  [[nodiscard]] Index out_features() const { return packed_ ? packed_->rows() : dense_.rows(); }
  [[nodiscard]] Index in_features() const { return packed_ ? packed_->cols() : dense_.cols(); }
  [[nodiscard]] bool is_packed() const noexcept { return packed_.has_value(); }
  [[nodiscard]] const std::optional<pare::AnyPackedMatrix>& packed() const noexcept {
    return packed_;
  }
  [[nodiscard]] const std::optional<pare::ActivationOptions>& activations() const noexcept {
    return activations_;
  }
  /// The float32 weight (out, in); empty when packed.
  [[nodiscard]] pare::Matrix<float>& dense() noexcept { return dense_; }
  [[nodiscard]] const pare::Matrix<float>& dense() const noexcept { return dense_; }
  [[nodiscard]] pare::Vector<float>& bias() noexcept { return bias_; }
  [[nodiscard]] const pare::Vector<float>& bias() const noexcept { return bias_; }

  /// Replaces the weight and keeps the bias.
  void replace(pare::AnyPackedMatrix weight, std::optional<pare::ActivationOptions> activations) {
    packed_ = std::move(weight);
    activations_ = activations;
    dense_ = {};
  }

  /// y (tokens, out) is overwritten.
  void forward(LinearInput& x, pare::MatrixView<float> y, const pare::Execution& execution) const {
    if (!packed_) {
      for (Index t = 0; t < y.rows(); ++t) std::fill_n(&y(t, 0), y.cols(), 0.0f);
      pare::gemm(1.0f, x.values(), dense_.view().transposed(), y, execution);
    } else if (activations_) {
      pare::matmul(x.quantized(*activations_, execution), *packed_, y, execution);
    } else {
      pare::matmul(x.values(), *packed_, y, execution);
    }
    if (bias_.empty()) return;
    for (Index t = 0; t < y.rows(); ++t)
      for (Index n = 0; n < y.cols(); ++n) y(t, n) += bias_[n];
  }

  [[nodiscard]] pare::Matrix<float> forward(LinearInput& x,
                                            const pare::Execution& execution) const {
    pare::Matrix<float> y({x.values().rows(), out_features()});
    forward(x, y, execution);
    return y;
  }

 private:
  pare::Matrix<float> dense_;
  std::optional<pare::AnyPackedMatrix> packed_;
  std::optional<pare::ActivationOptions> activations_;
  pare::Vector<float> bias_;
};

}  // namespace engine
