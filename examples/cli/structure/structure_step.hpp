#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "cli/pipeline/step.hpp"
#include "cli/structure/structure_plan.hpp"
#include "pare/calibration/activation_moments.hpp"
#include "training/gradient_statistics.hpp"

namespace cli {

/// Takes channels or heads out of blocks. Statistics are of the model as it was.
class StructureStep final : public Step {
 public:
  /// `gradients` where the score asks for them.
  StructureStep(const StructureRecipe& recipe, const StructurePlan& plan,
                const engine::BlockRunner& runner, training::LayerMatrices gradients = {});

  [[nodiscard]] Needs needs() const override;
  [[nodiscard]] bool wants(const std::string& layer) const override;
  void prepare(BlockInWork& work, const BlockStatistics* statistics,
               const Listener& listener) override;
  void observe(const BlockInWork& work, engine::Site site,
               pare::MatrixView<const float> x) override;
  void compress(BlockInWork& work, const Observations& observations,
                const Listener& listener) override;
  [[nodiscard]] engine::QuantizedLinear compress_output_layer(
      const std::string& name, pare::MatrixView<const float> weight) override;

 private:
  /// What the layer that reads removed channels becomes; empty where it stays.
  struct Consumer {
    pare::Matrix<float> weight;
    pare::Vector<float> bias_change;
  };

  void remove(BlockInWork& work, const RemovedAxis& axis, const Observations& observations);
  [[nodiscard]] std::vector<Index> chosen(const BlockInWork& work, const RemovedAxis& axis,
                                          const pare::ChannelGroup& group) const;
  [[nodiscard]] Consumer update(BlockInWork& work, std::size_t place,
                                const std::vector<Index>& kept,
                                const Observations& observations) const;
  [[nodiscard]] const pare::ActivationMoments& moments(const BlockInWork& work,
                                                       std::size_t consumer) const;
  void settle(BlockInWork& work) const;

  StructureRecipe recipe_;
  const StructurePlan& plan_;
  const engine::BlockRunner& runner_;
  training::LayerMatrices gradients_;
  std::set<std::string, std::less<>> readers_;               // layers that read what goes
  std::map<engine::Site, pare::ActivationMoments> moments_;  // of the block in work
};

}  // namespace cli
