#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "cli/structure/structure_recipe.hpp"
#include "engine/block_graph.hpp"
#include "pare/calibration/activation_moments.hpp"
#include "pare/kernels/execution.hpp"

namespace cli {

/// What scores of channels ask for beside the weights of a block; what a score does not read may be
/// left out.
struct ChannelEvidence {
  std::size_t consumer;  ///< the layer that reads the channels, by its place
  const pare::ActivationMoments* inputs = nullptr;  ///< what enters it
  /// Of the model's loss, by the layer's place.
  std::function<const pare::Matrix<float>&(std::size_t layer)> gradient{};
  std::uint64_t seed = 0;
};

/// How important each channel of a group is, low = unimportant: magnitude and taylor ask all
/// weights of the group, flap and wanda-sp the layer that reads the channels and what enters it. Of
/// a channel with several indices, a head, the scores are added, by wanda-sp averaged.
[[nodiscard]] std::vector<double> channel_scores(StructureScore score,
                                                 const pare::ChannelGroup& group,
                                                 const engine::Block& block,
                                                 const ChannelEvidence& evidence,
                                                 const pare::Execution& execution);

}  // namespace cli
