#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "engine/model.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

/// What scores of pruning ask of a model's gradients (pare/pruning/score.hpp), on a text.
namespace training {

using pare::Index;

/// Windows of a text, one after the other; the loss is the mean over all tokens but the last of
/// each of the cross entropy with the next one.
struct GradientText {
  std::span<const std::int32_t> ids;
  Index length = 0;  ///< of each window
  Index batch = 8;   ///< windows at once
  /// Called as more windows are done; may be empty.
  std::function<void(Index done, Index windows)> progress{};
};

/// A matrix (out, in) for each linear layer of the blocks, by the layer's name.
using LayerMatrices = std::map<std::string, pare::Matrix<float>, std::less<>>;

/// The gradient of the loss.
///
/// Errors    pare::ArgumentError for models that cannot be trained (see LanguageModel) and a text
///           without a token to predict
[[nodiscard]] LayerMatrices mean_gradients(const engine::Model& model, const GradientText& text,
                                           const pare::Execution& execution);

/// The mean over windows of the squared gradient of each window's loss: the diagonal of the
/// empirical Fisher matrix. Errors as mean_gradients.
[[nodiscard]] LayerMatrices mean_squared_gradients(const engine::Model& model,
                                                   const GradientText& text,
                                                   const pare::Execution& execution);

/// H g, with g the gradient and H the Hessian of the loss of logits divided by `temperature`, of
/// the layers alone: exact, by dual numbers. Errors as mean_gradients.
///
/// Source    Wang et al., "Picking Winning Tickets Before Training by Preserving Gradient Flow",
///           2020, whose temperature is 200
[[nodiscard]] LayerMatrices hessian_gradients(const engine::Model& model, const GradientText& text,
                                              double temperature, const pare::Execution& execution);

/// An estimate of the Hessian's diagonal, of the layers alone: the mean over `probes` of z (H z),
/// with z of +1 and -1 by `seed`. Errors as mean_gradients, and for no probes.
///
/// Source    Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a matrix", 2007
[[nodiscard]] LayerMatrices hessian_diagonals(const engine::Model& model, const GradientText& text,
                                              Index probes, std::uint64_t seed,
                                              const pare::Execution& execution);

}  // namespace training
