#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "cli/pipeline/experts.hpp"
#include "cli/pipeline/step.hpp"

namespace cli {

using Steps = std::vector<std::unique_ptr<Step>>;

/// Leads a model's blocks through steps, in order, with what the steps ask of calibration.
///
/// Float statistics are those of the original blocks (`FloatCalibration`, which several passes may
/// share). Hessians and inputs come from a stream of the pass's own, which moves on through the
/// prepared blocks, or, when a step is sequential, through the finished ones.
///
/// Experts of a block come after its other layers, one at a time, as blocks of their own with the
/// tokens that the router sends them; one with fewer than `least_expert_tokens` gets all for its
/// statistics. Of a block whose experts are read when they are used no more than one is in memory.
class BlockPass {
 public:
  /// `windows` and `float_calibration` may be null when no step needs calibration. All that is
  /// given must outlive the pass.
  BlockPass(const Steps& steps, const engine::BlockRunner& runner,
            const CalibrationWindows* windows, const engine::Embedding& embedding,
            FloatCalibration* float_calibration, Index least_expert_tokens);

  /// Where the block's experts are read when they are used, finished ones go to `store`.
  /// Throws what the steps throw, naming the layer.
  [[nodiscard]] BlockInWork run(Index index, engine::Block block, const Listener& listener,
                                ExpertStore* store = nullptr);

  /// Passes by block `index`, finished earlier: of the two forms only what is needed is read.
  void skip(Index index, const std::function<engine::Block()>& original,
            const std::function<engine::Block()>& finished);

 private:
  [[nodiscard]] BlockInWork prepare(Index index, engine::Block block, const Listener& listener);
  [[nodiscard]] Observations observe(const BlockInWork& work);
  [[nodiscard]] bool wants(const BlockInWork& work, engine::Site site) const;
  [[nodiscard]] std::set<engine::Site> wanted_sites(const BlockInWork& work,
                                                    Observations& observations) const;
  void show(const BlockInWork& work, engine::Site site, pare::MatrixView<const float> x,
            Observations& observations) const;
  static void take_results(BlockInWork& work);
  [[nodiscard]] pare::Matrix<float> expert_sample(const BlockInWork& work) const;
  /// The experts of a block whose other layers are done, one after the other.
  void run_experts(BlockInWork& work, const Listener& listener, ExpertStore* store);

  const Steps& steps_;
  Needs needs_;
  engine::BlockRunner runner_;
  FloatCalibration* float_calibration_;
  Index least_expert_tokens_;
  std::optional<CalibrationStream> stream_;
  std::optional<CalibrationStream> originals_;   // through the original blocks, for windows
  const BlockStatistics* statistics_ = nullptr;  // of the block in work
  std::vector<float> expert_inputs_;             // what enters its experts, of all tokens
};

}  // namespace cli
