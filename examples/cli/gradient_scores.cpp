#include "cli/gradient_scores.hpp"

#include <string>
#include <type_traits>
#include <utility>

#include "cli/progress.hpp"
#include "pare/pruning/scores/all.hpp"

namespace cli {
namespace {

using training::LayerMatrices;

/// Of the logits in GraSP's loss, as its authors have it.
constexpr double grasp_temperature = 200.0;
/// Of the diagonal of a Hessian: the error falls with the root of their number.
constexpr Index hessian_probes = 8;

/// Calls gradients(text) with progress on the way.
template <class Gradients>
auto with_text(const CalibrationWindows& windows, const Gradients& gradients) {
  training::GradientText text{windows.inputs.ids, windows.length()};
  Progress progress("gradients", windows.count(), 0, "window");
  text.progress = [&](Index done, Index) { progress.pass(done - 1); };
  return gradients(text);
}

/// What a score reads beside the weights, of all layers.
struct Gradients {
  LayerMatrices gradient, curvature, product;
};

template <class Score>
Gradients gradients_for(const engine::Model& model, const CalibrationWindows& windows,
                        const pare::Execution& execution) {
  using Inputs = typename Score::Inputs;
  return with_text(windows, [&](const training::GradientText& text) {
    Gradients all;
    if constexpr (std::is_same_v<Inputs, pare::WeightsAndGradient> ||
                  std::is_same_v<Inputs, pare::WeightsGradientAndCurvature>)
      all.gradient = training::mean_gradients(model, text, execution);
    if constexpr (std::is_same_v<Score, pare::Obd>)
      all.curvature = training::hessian_diagonals(model, text, hessian_probes, 1, execution);
    else if constexpr (std::is_same_v<Inputs, pare::WeightsAndCurvature> ||
                       std::is_same_v<Inputs, pare::WeightsGradientAndCurvature>)
      all.curvature = training::mean_squared_gradients(model, text, execution);
    if constexpr (std::is_same_v<Inputs, pare::WeightsAndHessianGradient>)
      all.product = training::hessian_gradients(model, text, grasp_temperature, execution);
    return all;
  });
}

template <class Score>
pare::Matrix<float> scores_of_layer(pare::MatrixView<const float> weight, const std::string& name,
                                    const Gradients& all, const pare::Execution& execution) {
  using Inputs = typename Score::Inputs;
  if constexpr (std::is_same_v<Inputs, pare::WeightsAndGradient>)
    return Score{}(Inputs{weight, all.gradient.at(name)}, execution);
  else if constexpr (std::is_same_v<Inputs, pare::WeightsAndCurvature>)
    return Score{}(Inputs{weight, all.curvature.at(name)}, execution);
  else if constexpr (std::is_same_v<Inputs, pare::WeightsGradientAndCurvature>)
    return Score{}(Inputs{weight, all.gradient.at(name), all.curvature.at(name)}, execution);
  else if constexpr (std::is_same_v<Inputs, pare::WeightsAndHessianGradient>)
    return Score{}(Inputs{weight, all.product.at(name)}, execution);
  else
    throw pare::ArgumentError(std::string(Score::name) + " asks for no gradients");
}

}  // namespace

void score_by_gradients(const PruneRecipe& recipe, const engine::Model& model,
                        const CalibrationWindows& windows, const pare::Execution& execution,
                        PrunedLayers& layers) {
  pare::with_score(recipe.score, [&]<class S>(pare::TypeTag<S>) {
    const Gradients all = gradients_for<S>(model, windows, execution);
    for (Index b = 0; b < model.config.layers; ++b) {
      const engine::Block& block = model.blocks[static_cast<std::size_t>(b)];
      for (std::size_t i = 0; i < block.linears.size(); ++i) {
        const std::string name = model.config.linear_name(b, i);
        const auto layer = layers.find(name);
        if (layer == layers.end()) continue;
        layer->second.scores = std::make_shared<pare::Matrix<float>>(
            scores_of_layer<S>(block.linears[i].dense(), name, all, execution));
      }
    }
  });
}

LayerMatrices channel_gradients(const engine::Model& model, const CalibrationWindows& windows,
                                const pare::Execution& execution) {
  return with_text(windows, [&](const training::GradientText& text) {
    return training::mean_gradients(model, text, execution);
  });
}

}  // namespace cli
