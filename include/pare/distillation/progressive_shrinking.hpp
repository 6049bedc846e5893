#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"
#include "pare/core/random.hpp"

/// Progressive shrinking: a network is trained together with ever smaller ones that are parts of
/// it, and the whole one teaches them. Gradients of a step's subnetworks are summed; the loss is
/// the soft cross entropy with the full network at temperature 1 plus cross entropy with a label
/// smoothing of 0.1. Channels are sorted by importance before widths shrink, and batch norms are
/// estimated anew before a subnetwork is evaluated. Source: Cai et al., "Once-for-All: Train One
/// Network and Specialize it for Efficient Deployment", 2020, and the authors' code.
namespace pare {

/// What may be chosen in a stage, and how it is trained.
struct ShrinkingStage {
  std::string name;
  std::vector<Index> kernel_sizes, depths, expansions;
  Index epochs = 0;
  /// Subnetworks that are sampled in each step.
  Index subnets = 1;
  double learning_rate = 0.0;
};

/// The authors' stages, after the full network was trained.
[[nodiscard]] inline std::vector<ShrinkingStage> once_for_all_stages() {
  return {
      {"kernel size", {3, 5, 7}, {4}, {6}, 120, 1, 3e-2},
      {"depth, first", {3, 5, 7}, {3, 4}, {6}, 25, 2, 2.5e-3},
      {"depth, second", {3, 5, 7}, {2, 3, 4}, {6}, 120, 2, 7.5e-3},
      {"width, first", {3, 5, 7}, {2, 3, 4}, {4, 6}, 25, 4, 2.5e-3},
      {"width, second", {3, 5, 7}, {2, 3, 4}, {3, 4, 6}, 120, 4, 7.5e-3},
  };
}

/// The position of the stage that an epoch, counted from 0 through all stages, belongs to; after
/// the end the last. Throws ArgumentError without stages or for a negative epoch.
[[nodiscard]] inline std::size_t shrinking_stage(const std::vector<ShrinkingStage>& stages,
                                                 Index epoch) {
  if (stages.empty()) throw ArgumentError("there are no stages of shrinking");
  if (epoch < 0) throw ArgumentError("epoch " + std::to_string(epoch) + " of shrinking");
  for (std::size_t s = 0; s + 1 < stages.size(); ++s) {
    if (epoch < stages[s].epochs) return s;
    epoch -= stages[s].epochs;
  }
  return stages.size() - 1;
}

/// One network out of all that a stage allows.
struct Subnet {
  std::vector<Index> depths;                    ///< of each unit
  std::vector<Index> kernel_sizes, expansions;  ///< of each block, also of those too deep
};

/// Chooses the depth of each unit, and kernel size and expansion of each of its blocks, all by
/// themselves and equally likely.
///
/// Errors    ArgumentError for a stage without a choice, or fewer units or blocks than one
[[nodiscard]] inline Subnet sample_subnet(const ShrinkingStage& stage, Index units,
                                          Index blocks_per_unit, Random& random) {
  if (units < 1 || blocks_per_unit < 1)
    throw ArgumentError("a network of " + std::to_string(units) + " units of " +
                        std::to_string(blocks_per_unit) + " blocks");
  for (const auto& [choices, what] :
       {std::pair{&stage.kernel_sizes, "kernel size"}, std::pair{&stage.depths, "depth"},
        std::pair{&stage.expansions, "expansion"}})
    if (choices->empty())
      throw ArgumentError("the stage \"" + stage.name + "\" has no " + what + " to choose");
  const auto one_of = [&](const std::vector<Index>& choices) {
    return choices[random.below(static_cast<std::uint32_t>(choices.size()))];
  };
  Subnet subnet;
  for (Index unit = 0; unit < units; ++unit) {
    subnet.depths.push_back(one_of(stage.depths));
    for (Index block = 0; block < blocks_per_unit; ++block) {
      subnet.kernel_sizes.push_back(one_of(stage.kernel_sizes));
      subnet.expansions.push_back(one_of(stage.expansions));
    }
  }
  return subnet;
}

}  // namespace pare
