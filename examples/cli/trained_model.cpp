#include "cli/trained_model.hpp"

#include <utility>

#include "pare/quantization/quantize.hpp"

namespace cli {
namespace {

/// Of a layer, from its weight's.
std::string layer_of(const std::string& weight) {
  return weight.substr(0, weight.rfind(".weight"));
}

}  // namespace

FloatModel load_float(const engine::Checkpoint& checkpoint, const pare::Execution& execution) {
  FloatModel loaded{checkpoint.load(execution), {}, {}};
  for (Index b = 0; b < checkpoint.config().layers; ++b) {
    engine::Block& block = loaded.model.blocks[static_cast<std::size_t>(b)];
    for (std::size_t i = 0; i < block.linears.size(); ++i) {
      const std::string name = checkpoint.config().linear_name(b, i);
      auto codes = checkpoint.quantized_linear(name);
      if (!codes) continue;
      pare::Vector<float> bias = block.linears[i].bias();
      block.linears[i] = engine::Linear(codes->weight.dequantize());
      if (!bias.empty()) block.linears[i].set_bias(std::move(bias));
      if (codes->activations) loaded.activations.emplace(name, *codes->activations);
      loaded.codes.emplace(name, std::move(codes->weight));
    }
  }
  return loaded;
}

training::QuantizedWeights begin_quantized(const TrainRecipe& recipe, const FloatModel& model,
                                           const training::LanguageModel<float>& trained,
                                           const pare::Execution& execution) {
  training::QuantizedWeights weights;
  const auto format = recipe.quantized();
  for (const std::size_t p : trained.layers()) {
    const training::Parameter<float>& parameter = trained.parameters()[p];
    const std::string name = layer_of(parameter.name);
    pare::with_context(name, [&] {
      if (const auto found = model.codes.find(name); found != model.codes.end())
        return weights.add(p, found->second);
      if (!format) return;
      pare::with_format(format->format, [&]<class F>(pare::TypeTag<F>) {
        weights.add(
            p, pare::quantize<F>(parameter.value, {.group_size = format->group_size}, execution));
      });
    });
  }
  return weights;
}

std::map<std::string, engine::QuantizedLinear> quantized_layers(
    const training::QuantizedWeights& weights, const training::LanguageModel<float>& model,
    const std::map<std::string, pare::ActivationOptions>& activations) {
  std::map<std::string, engine::QuantizedLinear> layers;
  weights.finish(model, [&](const std::string& weight, pare::AnyQuantizedMatrix codes) {
    const std::string name = layer_of(weight);
    engine::QuantizedLinear layer{std::move(codes)};
    if (const auto found = activations.find(name); found != activations.end())
      layer.activations = found->second;
    layers.emplace(name, std::move(layer));
  });
  return layers;
}

void TrainedStep::compress(BlockInWork& work, const Observations&, const Listener&) {
  const engine::Block& from = trained_.blocks[static_cast<std::size_t>(work.index)];
  work.block.norms = from.norms;
  work.block.query_norm = from.query_norm;
  work.block.key_norm = from.key_norm;
  for (std::size_t i = 0; i < from.linears.size(); ++i) work.block.linears[i] = from.linears[i];
  for (const Layer& layer : work.layers)
    if (const auto found = quantized_.find(layer.name); found != quantized_.end())
      work.quantized.emplace(layer.name, found->second);
}

engine::QuantizedLinear TrainedStep::compress_output_layer(const std::string& name,
                                                           pare::MatrixView<const float>) {
  throw pare::Error(name + ": the output layer is not quantized");
}

}  // namespace cli
