#include "cli/owl_allocation.hpp"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/pipeline/block_pass.hpp"
#include "cli/progress.hpp"
#include "pare/calibration/activation_moments.hpp"
#include "pare/pruning/allocation.hpp"
#include "pare/pruning/scores/wanda.hpp"

namespace cli {
namespace {

/// Sees what enters a block's layers, and changes none.
class InputNorms final : public Step {
 public:
  InputNorms(const PrunedLayers& layers, const pare::Execution& execution)
      : layers_(layers), execution_(execution) {}

  [[nodiscard]] Needs needs() const override { return {.inputs = true}; }
  [[nodiscard]] bool wants(const std::string& layer) const override {
    return layers_.contains(layer);
  }
  void observe(const BlockInWork&, engine::Site site, pare::MatrixView<const float> x) override {
    moments_.try_emplace(site, x.cols()).first->second.add(x, execution_);
  }
  void compress(BlockInWork&, const Observations&, const Listener&) override {}
  [[nodiscard]] engine::QuantizedLinear compress_output_layer(
      const std::string& name, pare::MatrixView<const float>) override {
    throw pare::Error(name + ": the output layer is not pruned");
  }

  /// Mean squares per input of what was seen at each site since the last call.
  [[nodiscard]] std::map<engine::Site, pare::Vector<float>> take() {
    std::map<engine::Site, pare::Vector<float>> norms;
    for (const auto& [site, moments] : moments_) norms.emplace(site, moments.mean_square());
    moments_.clear();
    return norms;
  }

 private:
  const PrunedLayers& layers_;
  pare::Execution execution_;
  std::map<engine::Site, pare::ActivationMoments> moments_;
};

/// Experts stay what they are: those of the pass are let go.
class UnchangedExperts final : public ExpertStore {
 public:
  explicit UnchangedExperts(std::function<engine::Block(Index)> read) : read_(std::move(read)) {}
  void write_expert(const BlockInWork&, Index) override {}
  [[nodiscard]] engine::Block read_expert(Index, Index number) const override {
    return read_(number);
  }

 private:
  std::function<engine::Block(Index)> read_;
};

/// The float weight of a block's linear layer `index`, wherever it is.
pare::Matrix<float> weight_of(const engine::Block& block, std::size_t index) {
  const auto& linears = block.description.linears;
  const Index expert = linears[index].expert;
  if (expert < 0 || !block.read_expert) return block.linears[index].dense();
  std::size_t own = 0;
  for (std::size_t i = 0; i < index; ++i) own += linears[i].expert == expert;
  return block.read_expert(expert).linears[own].dense();
}

}  // namespace

void allocate_by_outliers(const PruneRecipe& recipe,
                          const std::function<engine::Block(Index)>& block_of,
                          const engine::BlockRunner& runner, const engine::Embedding& embedding,
                          const CalibrationWindows& windows, PrunedLayers& layers) {
  const engine::ModelConfig& config = runner.config();
  auto owned = std::make_unique<InputNorms>(layers, runner.execution());
  InputNorms& seen = *owned;
  Steps steps;
  steps.push_back(std::move(owned));
  BlockPass pass(steps, runner, &windows, embedding, nullptr, recipe.min_expert_tokens);
  std::vector<std::vector<std::string>> names;  // of the blocks that lose something
  std::vector<double> percent;
  Progress progress("measuring outliers", config.layers);
  for (Index b = 0; b < config.layers; ++b) {
    progress.begin_block(b);
    const engine::Block block = block_of(b);
    UnchangedExperts experts(block.read_expert);
    (void)pass.run(
        b, block,
        [&](const std::string& layer, double fraction) { progress.step(layer, 0.5 * fraction); },
        &experts);
    const auto norms = seen.take();
    std::vector<Layer> own = layers_of_block(config, b);
    std::erase_if(own, [&](const Layer& layer) { return !layers.contains(layer.name); });
    if (own.empty()) continue;
    progress.step("outliers", 0.5);
    percent.push_back(pare::owl_outlier_percent(
        std::ssize(own),
        [&](Index i) {
          const Layer& layer = own[static_cast<std::size_t>(i)];
          return pare::with_context(layer.name, [&] {
            return pare::wanda_scores(weight_of(block, layer.index), norms.at(layer.site),
                                      runner.execution());
          });
        },
        recipe.owl_multiple));
    names.emplace_back();
    for (Layer& layer : own) names.back().push_back(std::move(layer.name));
  }
  const std::vector<double> sparsities =
      pare::owl_sparsity(percent, recipe.sparsity, recipe.owl_lambda);
  for (std::size_t b = 0; b < names.size(); ++b)
    for (const std::string& name : names[b]) {
      if (sparsities[b] >= 1.0)
        throw pare::ArgumentError("--allocate owl would remove all of " + name +
                                  ": a smaller --owl-lambda does not");
      layers[name].sparsity = sparsities[b];
    }
}

}  // namespace cli
