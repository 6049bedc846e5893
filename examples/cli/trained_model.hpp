#pragma once

#include <map>
#include <string>

#include "cli/pipeline/step.hpp"
#include "cli/train_recipe.hpp"
#include "engine/checkpoint.hpp"
#include "pare/formats/any_quantized_matrix.hpp"
#include "training/language_model.hpp"
#include "training/quantized_weights.hpp"

namespace cli {

/// A model in memory whose layers are float: those that are quantized as what their codes stand
/// for, which are kept beside.
struct FloatModel {
  engine::Model model;
  std::map<std::string, pare::AnyQuantizedMatrix> codes;  ///< by the layer's name
  std::map<std::string, pare::ActivationOptions> activations;
};

[[nodiscard]] FloatModel load_float(const engine::Checkpoint& checkpoint,
                                    const pare::Execution& execution);

/// Codes to begin with: those of the model, or its weights rounded to nearest as the recipe says.
[[nodiscard]] training::QuantizedWeights begin_quantized(
    const TrainRecipe& recipe, const FloatModel& model,
    const training::LanguageModel<float>& trained, const pare::Execution& execution);

/// What quantized layers ship, by name; their inputs are quantized as before.
[[nodiscard]] std::map<std::string, engine::QuantizedLinear> quantized_layers(
    const training::QuantizedWeights& weights, const training::LanguageModel<float>& model,
    const std::map<std::string, pare::ActivationOptions>& activations);

/// Puts what was trained into the blocks on their way to the new model. Both must outlive it.
class TrainedStep final : public Step {
 public:
  TrainedStep(const engine::Model& trained,
              const std::map<std::string, engine::QuantizedLinear>& quantized)
      : trained_(trained), quantized_(quantized) {}

  [[nodiscard]] Needs needs() const override { return {}; }
  [[nodiscard]] bool wants(const std::string& layer) const override {
    return layer != trained_.config.names.output;
  }
  void compress(BlockInWork& work, const Observations& observations,
                const Listener& listener) override;
  [[nodiscard]] engine::QuantizedLinear compress_output_layer(
      const std::string& name, pare::MatrixView<const float> weight) override;

 private:
  const engine::Model& trained_;
  const std::map<std::string, engine::QuantizedLinear>& quantized_;
};

}  // namespace cli
