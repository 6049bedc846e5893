#include "cli/sensitivity_runs.hpp"

namespace cli {

SensitivityRuns::SensitivityRuns(const engine::Model& model, const engine::ModelInputs& inputs,
                                 const pare::Execution& execution)
    : model_(model),
      inputs_(inputs),
      runner_(model.config, execution),
      entering_(*model.embedding, CalibrationWindows(inputs, 0), execution),
      leaving_(entering_) {
  for (const engine::Block& block : model.blocks) leaving_.advance(runner_, block);
}

void SensitivityRuns::advance() { entering_.advance(runner_, model_.blocks[next_++]); }

pare::Matrix<float> SensitivityRuns::rows(const CalibrationStream& stream, Index first,
                                          Index count) const {
  return pare::Matrix<float>(
      stream.hidden().slice(0, first * inputs_.length, count * inputs_.length));
}

pare::Matrix<float> SensitivityRuns::original(Index first, Index count) const {
  return rows(leaving_, first, count);
}

pare::Matrix<float> SensitivityRuns::with(const engine::Block& changed, Index first,
                                          Index count) const {
  pare::Matrix<float> x = rows(entering_, first, count);
  std::span<const std::uint8_t> visible(inputs_.visible);
  if (!visible.empty())
    visible = visible.subspan(static_cast<std::size_t>(first * inputs_.length),
                              static_cast<std::size_t>(count * inputs_.length));
  runner_.prefill(changed, x, inputs_.length, {}, visible);
  for (std::size_t i = next_ + 1; i < model_.blocks.size(); ++i)
    runner_.prefill(model_.blocks[i], x, inputs_.length, {}, visible);
  return x;
}

}  // namespace cli
