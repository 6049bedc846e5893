#pragma once

#include "cli/pipeline/calibration_stream.hpp"
#include "engine/model.hpp"

namespace cli {

/// A float model that waits between two blocks, on inputs that stay the same, so that what follows
/// can be run again and again with one block changed. What enters that block is in memory, and what
/// leaves the last one.
class SensitivityRuns {
 public:
  /// Waits before block 0. Model and inputs must outlive this.
  SensitivityRuns(const engine::Model& model, const engine::ModelInputs& inputs,
                  const pare::Execution& execution);

  /// Goes on through a block.
  void advance();

  /// What leaves the last block of the float model, of `count` inputs from `first` on.
  [[nodiscard]] pare::Matrix<float> original(Index first, Index count) const;
  /// The same with `changed` in the place of the block that is next.
  [[nodiscard]] pare::Matrix<float> with(const engine::Block& changed, Index first,
                                         Index count) const;

 private:
  [[nodiscard]] pare::Matrix<float> rows(const CalibrationStream& stream, Index first,
                                         Index count) const;

  const engine::Model& model_;
  const engine::ModelInputs& inputs_;
  engine::BlockRunner runner_;
  CalibrationStream entering_, leaving_;
  std::size_t next_ = 0;
};

}  // namespace cli
