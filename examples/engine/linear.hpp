#pragma once

#include <optional>
#include <string>
#include <utility>

#include "pare/core/tensor.hpp"
#include "pare/kernels/any_packed_matrix.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/quantized_activations.hpp"

namespace engine {

using pare::Index;

/// The input of linear layers that share it: its 8-bit form is made once for all of them.
class LinearInput {
 public:
  explicit LinearInput(pare::MatrixView<const float> x) : x_(x) {}

  [[nodiscard]] pare::MatrixView<const float> values() const noexcept { return x_; }

  [[nodiscard]] const pare::QuantizedActivations& quantized(const pare::ActivationOptions& options,
                                                            const pare::Execution& execution);

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
  /// Packs the weight for the kernels.
  Linear(const pare::AnyQuantizedMatrix& weight,
         std::optional<pare::ActivationOptions> activations);

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
  void replace(const pare::AnyQuantizedMatrix& weight,
               std::optional<pare::ActivationOptions> activations);

  /// Which kernel runs for `tokens` tokens; see pare::describe.
  [[nodiscard]] std::string describe(Index tokens, const pare::Execution& execution) const;

  /// y (tokens, out) is overwritten.
  void forward(LinearInput& x, pare::MatrixView<float> y, const pare::Execution& execution) const;
  [[nodiscard]] pare::Matrix<float> forward(LinearInput& x, const pare::Execution& execution) const;

 private:
  pare::Matrix<float> dense_;
  std::optional<pare::AnyPackedMatrix> packed_;
  std::optional<pare::ActivationOptions> activations_;
  pare::Vector<float> bias_;
};

}  // namespace engine
