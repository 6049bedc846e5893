#pragma once

#include <cstdint>
#include <vector>

#include "cli/structure/structure_recipe.hpp"
#include "engine/block_graph.hpp"
#include "pare/calibration/activation_moments.hpp"
#include "pare/kernels/execution.hpp"

namespace cli {

/// How important each channel of a group is, low = unimportant: magnitude asks all weights of the
/// group, flap and wanda-sp the layer that reads the channels (`consumer`, by its place) and what
/// enters it. Of a channel with several indices, a head, the scores are added, by wanda-sp
/// averaged.
[[nodiscard]] std::vector<double> channel_scores(StructureScore score,
                                                 const pare::ChannelGroup& group,
                                                 const engine::Block& block, std::size_t consumer,
                                                 const pare::ActivationMoments* inputs,
                                                 std::uint64_t seed,
                                                 const pare::Execution& execution);

}  // namespace cli
