#include "cli/prune_step.hpp"

#include <optional>
#include <type_traits>
#include <utility>

#include "cli/weight_update.hpp"
#include "pare/pruning/scores/all.hpp"

namespace cli {

using engine::Site;
using pare::MatrixView;

PruneStep::PruneStep(const PruneRecipe& recipe, PrunedLayers layers,
                     const engine::BlockRunner& runner)
    : recipe_(recipe), layers_(std::move(layers)), runner_(runner) {}

Needs PruneStep::needs() const {
  const bool calibrates = recipe_.needs_calibration();
  return {.hessians = calibrates && !recipe_.scores_inputs(),
          .inputs = recipe_.scores_inputs(),
          .sequential = calibrates};
}

bool PruneStep::wants(const std::string& layer) const { return layers_.contains(layer); }

void PruneStep::prepare(BlockInWork&, const BlockStatistics*, const Listener&) {
  squared_inputs_.clear();
}

void PruneStep::observe(const BlockInWork&, Site site, MatrixView<const float> x) {
  pare::Vector<double>& sums =
      squared_inputs_.try_emplace(site, pare::Vector<double>({x.cols()})).first->second;
  for (Index t = 0; t < x.rows(); ++t)
    for (Index j = 0; j < x.cols(); ++j)
      sums[j] += static_cast<double>(x(t, j)) * static_cast<double>(x(t, j));
}

pare::Mask PruneStep::choose(const Layer& layer, MatrixView<const float> weight) const {
  pare::Selection selection = recipe_.selection();
  if (const auto& count = layers_.at(layer.name)) selection.count = *count;
  // What a layer loses all of, nothing makes up for.
  selection.least_kept = selection.scope == pare::SelectionScope::matrix ? 1 : 0;
  const auto scores =
      pare::with_score(recipe_.score, [&]<class S>(pare::TypeTag<S>) -> pare::Matrix<float> {
        if constexpr (std::is_same_v<typename S::Inputs, pare::Weights>) {
          return S{}(pare::Weights{weight});
        } else if constexpr (std::is_same_v<typename S::Inputs, pare::WeightsAndInputs>) {
          const pare::Vector<double>& sums = squared_inputs_.at(layer.site);
          pare::Vector<float> norms({sums.size()});
          for (Index j = 0; j < norms.size(); ++j) norms[j] = static_cast<float>(sums[j]);
          return S{}(pare::WeightsAndInputs{weight, norms});
        } else {
          throw pare::ArgumentError("--score " + recipe_.score + " needs gradients");
        }
      });
  return pare::select(scores, selection, runner_.execution());
}

void PruneStep::compress(BlockInWork& work, const Observations& observations,
                         const Listener& listener) {
  std::optional<WeightUpdate> update;  // layers at a site share their input
  std::optional<Site> site;
  for (std::size_t i = 0; i < work.layers.size(); ++i) {
    const Layer& layer = work.layers[i];
    if (!wants(layer.name)) continue;
    listener(work.block.description.linears[layer.index].name,
             0.5 + static_cast<double>(i) / static_cast<double>(2 * work.layers.size()));
    pare::with_context(layer.name, [&] {
      pare::Matrix<float>& weight = work.weight(layer);
      if (recipe_.update == PruneUpdate::none) return choose(layer, weight).apply(weight);
      if (site != layer.site)
        update.emplace(recipe_, observations.hessian(layer.site), runner_.execution());
      site = layer.site;
      pare::PruneResult result = (*update)(weight);
      const pare::PruneReport& report = result.report;
      if (report.damping_used > recipe_.damping)
        work.notices.push_back(layer.name + ": the damping was raised to " +
                               std::to_string(report.damping_used));
      if (report.dead_inputs > 0)
        work.notices.push_back(layer.name + ": " + std::to_string(report.dead_inputs) +
                               " inputs were always zero; their weights are zeroed");
      weight = std::move(result.weight);
    });
  }
}

engine::QuantizedLinear PruneStep::compress_output_layer(const std::string& name,
                                                         MatrixView<const float>) {
  throw pare::Error(name + ": the output layer is not pruned");
}

}  // namespace cli
