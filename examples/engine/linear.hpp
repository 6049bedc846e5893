#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pare/core/tensor.hpp"
#include "pare/kernels/any_packed_matrix.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/quantized_activations.hpp"

namespace engine {

using pare::Index;

/// y = x Wᵀ + bias with W in float32 or in any packed format, x in float32 or quantized to 8 bits.
/// What depends on the format is compiled in one place, copying and destroying included.
class Linear {
 public:
  Linear();
  explicit Linear(pare::Matrix<float> weight);
  Linear(pare::AnyPackedMatrix weight, std::optional<pare::ActivationOptions> activations);
  /// Packs the weight for the kernels.
  Linear(const pare::AnyQuantizedMatrix& weight, std::optional<pare::ActivationOptions> activations,
         const pare::Execution& execution = {});
  Linear(const Linear&);
  Linear(Linear&&) noexcept;
  Linear& operator=(const Linear&);
  Linear& operator=(Linear&&) noexcept;
  ~Linear();

  void set_bias(pare::Vector<float> bias) { bias_ = std::move(bias); }

  [[nodiscard]] Index out_features() const;
  [[nodiscard]] Index in_features() const;
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

  /// The weight's memory as a product of one token reads it.
  [[nodiscard]] std::span<const std::byte> memory() const;

  [[nodiscard]] pare::Matrix<float> forward(pare::MatrixView<const float> x,
                                            const pare::Execution& execution) const;

 private:
  pare::Matrix<float> dense_;
  std::optional<pare::AnyPackedMatrix> packed_;
  std::optional<pare::ActivationOptions> activations_;
  pare::Vector<float> bias_;
};

/// y += x wᵀ in float32. Few tokens read the weight once, at the speed of memory.
void multiply_dense(pare::MatrixView<const float> x, pare::MatrixView<const float> w,
                    pare::MatrixView<float> y, const pare::Execution& execution);

/// A layer and where its output (tokens, out) goes: there it replaces what is, or is added.
struct LinearOutput {
  const Linear& layer;
  pare::MatrixView<float> y;
  bool accumulate = false;
};

/// Layers that read the same x, those of a kind in one matmul: it quantizes x once for all.
void forward(pare::MatrixView<const float> x, std::span<const LinearOutput> outputs,
             const pare::Execution& execution);
inline void forward(pare::MatrixView<const float> x, std::initializer_list<LinearOutput> outputs,
                    const pare::Execution& execution) {
  forward(x, std::span(outputs.begin(), outputs.size()), execution);
}

}  // namespace engine
