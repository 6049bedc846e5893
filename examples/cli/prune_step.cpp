#include "cli/prune_step.hpp"

#include <optional>
#include <utility>

#include "cli/choose_weights.hpp"
#include "cli/weight_update.hpp"

namespace cli {

using engine::Site;
using pare::MatrixView;

PruneStep::PruneStep(const PruneRecipe& recipe, PrunedLayers layers,
                     const engine::BlockRunner& runner)
    : recipe_(recipe), layers_(std::move(layers)), runner_(runner) {}

Needs PruneStep::needs() const {
  const bool calibrates = recipe_.needs_calibration();
  const bool updates = recipe_.update != PruneUpdate::none;
  return {
      .hessians = updates, .inputs = !updates && recipe_.scores_inputs(), .sequential = calibrates};
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
      const PrunedLayer& own = layers_.find(layer.name)->second;
      if (recipe_.update == PruneUpdate::none) {
        const auto seen = squared_inputs_.find(layer.site);
        const pare::Vector<double> none;
        return choose_weights(recipe_, own, weight,
                              seen == squared_inputs_.end() ? none : seen->second,
                              runner_.execution())
            .apply(weight);
      }
      if (site != layer.site)
        update.emplace(recipe_, observations.hessian(layer.site), runner_.execution());
      site = layer.site;
      pare::PruneResult result = (*update)(weight, own);
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
