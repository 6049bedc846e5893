#include "engine/linear.hpp"

#include <algorithm>

#include "pare/kernels/describe.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/kernels/matmul.hpp"

namespace engine {

const pare::QuantizedActivations& LinearInput::quantized(const pare::ActivationOptions& options,
                                                         const pare::Execution& execution) {
  if (!quantized_ || options_.scale != options.scale || options_.zero_point != options.zero_point) {
    quantized_ = pare::quantize_activations(x_, options, execution);
    options_ = options;
  }
  return *quantized_;
}

Linear::Linear(const pare::AnyQuantizedMatrix& weight,
               std::optional<pare::ActivationOptions> activations)
    : packed_(pare::pack(weight)), activations_(activations) {}

void Linear::replace(const pare::AnyQuantizedMatrix& weight,
                     std::optional<pare::ActivationOptions> activations) {
  packed_ = pare::pack(weight);
  activations_ = activations;
  dense_ = {};
}

std::string Linear::describe(Index tokens, const pare::Execution& execution) const {
  if (!packed_) return "float32 gemm";
  return pare::describe(*packed_, tokens, execution,
                        activations_ ? pare::ActivationType::int8 : pare::ActivationType::float32);
}

void Linear::forward(LinearInput& x, pare::MatrixView<float> y,
                     const pare::Execution& execution) const {
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

pare::Matrix<float> Linear::forward(LinearInput& x, const pare::Execution& execution) const {
  pare::Matrix<float> y({x.values().rows(), out_features()});
  forward(x, y, execution);
  return y;
}

}  // namespace engine
