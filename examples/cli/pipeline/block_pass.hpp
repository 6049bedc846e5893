#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cli/pipeline/step.hpp"

namespace cli {

using Steps = std::vector<std::unique_ptr<Step>>;

/// Leads a model's blocks through steps, in order, with what the steps ask of calibration.
///
/// Float statistics are those of the original blocks (`FloatCalibration`, which several passes may
/// share). Hessians and inputs come from a stream of the pass's own, which moves on through the
/// prepared blocks, or, when a step is sequential, through the finished ones.
class BlockPass {
 public:
  /// `windows` and `float_calibration` may be null when no step needs calibration. All that is
  /// given must outlive the pass.
  BlockPass(const Steps& steps, const engine::BlockRunner& runner,
            const CalibrationWindows* windows, const engine::Embedding& embedding,
            FloatCalibration* float_calibration);

  /// Throws what the steps throw, naming the layer.
  [[nodiscard]] BlockInWork run(Index index, engine::Block block, const Listener& listener);

  /// Passes by block `index`, finished earlier: of the two forms only what is needed is read.
  void skip(Index index, const std::function<engine::Block()>& original,
            const std::function<engine::Block()>& finished);

 private:
  [[nodiscard]] BlockInWork prepare(Index index, engine::Block block, const Listener& listener);
  [[nodiscard]] Observations observe(const BlockInWork& work) const;
  [[nodiscard]] bool wants(const BlockInWork& work, engine::Site site) const;

  const Steps& steps_;
  Needs needs_;
  engine::BlockRunner runner_;
  FloatCalibration* float_calibration_;
  std::optional<CalibrationStream> stream_;
};

}  // namespace cli
