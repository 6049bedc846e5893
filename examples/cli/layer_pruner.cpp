#include "cli/layer_pruner.hpp"

#include "cli/choose_weights.hpp"

namespace cli {

using pare::MatrixView;

Needs LayerPruner::needs() const {
  const bool updates = recipe_.update != PruneUpdate::none;
  return {.hessians = updates, .inputs = !updates && recipe_.scores_inputs()};
}

void LayerPruner::begin_block() {
  moments_.clear();
  update_site_.reset();
  update_.reset();
}

void LayerPruner::observe(engine::Site site, MatrixView<const float> x) {
  moments_.try_emplace(site, x.cols()).first->second.add(x, execution_);
}

pare::Matrix<float> LayerPruner::operator()(const Layer& layer, MatrixView<const float> weight,
                                            const PrunedLayer& own,
                                            const Observations& observations,
                                            std::vector<std::string>& notices) {
  if (recipe_.update == PruneUpdate::none) {
    const auto seen = moments_.find(layer.site);
    const auto squared =
        seen == moments_.end() ? pare::Vector<float>() : seen->second.mean_square();
    pare::Matrix<float> pruned(weight);
    choose_weights(recipe_, own, weight, squared, execution_).apply(pruned);
    return pruned;
  }
  if (update_site_ != layer.site)
    update_.emplace(recipe_, observations.hessian(layer.site), execution_);
  update_site_ = layer.site;
  pare::PruneResult result = (*update_)(weight, own);
  if (result.report.damping_used > recipe_.damping)
    notices.push_back(layer.name + ": the damping was raised to " +
                      std::to_string(result.report.damping_used));
  if (result.report.dead_inputs > 0)
    notices.push_back(layer.name + ": " + std::to_string(result.report.dead_inputs) +
                      " inputs were always zero; their weights are zeroed");
  return std::move(result.weight);
}

}  // namespace cli
