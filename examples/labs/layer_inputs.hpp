#pragma once

#include <map>

#include "engine/model.hpp"

namespace lab {

/// What enters the linear layers of a block: (tokens, in_features) at each site.
using LayerInputs = std::map<engine::Site, pare::Matrix<float>>;

/// Calls use(index, block, inputs of its layers) block by block. What `use` makes of a block, those
/// behind it read.
template <class AnyModel, class Use>
void for_each_block(AnyModel& model, const engine::ModelInputs& calibration,
                    const pare::Execution& execution, const Use& use) {
  const engine::BlockRunner runner(model.config, execution);
  pare::Matrix<float> x = model.embedding->rows(calibration, execution);
  for (std::size_t b = 0; b < model.blocks.size(); ++b) {
    LayerInputs inputs;
    pare::Matrix<float> shown = x;
    runner.show(model.blocks[b], shown, calibration.length,
                [&](engine::Site site, pare::MatrixView<const float> seen) {
                  inputs.emplace(site, pare::Matrix<float>(seen));
                });
    use(b, model.blocks[b], inputs);
    runner.prefill(model.blocks[b], x, calibration.length);
  }
}

}  // namespace lab
