#pragma once

#include <span>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/pruning/scores/input_channel.hpp"
#include "pare/pruning/structure/dependency_graph.hpp"
#include "pare/pruning/structure/group_scores.hpp"
#include "pare/pruning/structure/select_channels.hpp"

/// FLAP's one threshold for all layers of a network, their heads and their hidden units.
namespace pare {

/// Scores of the inputs of a layer as scores of a group's channels: standardized over all that the
/// group has of the axis, of each channel the mean over its indices. A head is as good as its
/// dimensions are among those of its layer.
///
/// Shapes    values of the extent of an axis of the group (the input of down_proj or of o_proj)
/// Errors    ArgumentError for an axis that is no member of the group; ShapeError for another
///           extent; NumericError naming a score that is not finite
/// Edge      like scores become 0
/// Source    An et al., "Fluctuation-based Adaptive Structured Pruning for Large Language Models"
///           (FLAP), 2023, and the authors' code, which squares the scores of o_proj before
[[nodiscard]] inline std::vector<double> standardized_channel_scores(const ChannelGroup& group,
                                                                     const MemberScores& scores) {
  const ChannelGroup::Member* const member = group.find(scores.axis);
  if (!member)
    throw ArgumentError(to_string(scores.axis) + " is no member of the group of " +
                        to_string(group.root()));
  std::vector<double> of_indices;
  for (const Index i : member->indices) {
    if (i >= std::ssize(scores.values))
      throw ShapeError(std::to_string(scores.values.size()) + " scores do not fit " +
                       to_string(scores.axis));
    const double score = scores.values[static_cast<std::size_t>(i)];
    if (!is_finite(score))
      throw NumericError("the score of index " + std::to_string(i) + " of " +
                         to_string(scores.axis) + " is not finite");
    of_indices.push_back(score);
  }
  detail::standardize(of_indices);
  std::vector<double> result;
  for (Index c = 0; c < group.channels(); ++c) {
    double sum = 0.0;
    for (Index k = 0; k < member->per_channel; ++k)
      sum += of_indices[static_cast<std::size_t>(c * member->per_channel + k)];
    result.push_back(sum / static_cast<double>(member->per_channel));
  }
  return result;
}

/// Which channels of all groups go: heads, hidden units and whatever else compete by their
/// standardized scores, each for the parameters that go with it, until the ratio of the parameters
/// of all of them is gone.
///
///     // groups: for each block its heads and its hidden units
///     const auto removed = select_flap(graph, groups, scores, {.ratio = 0.2});
///
/// Shapes    for each group the scores of one of its axes (standardized_channel_scores); results
///           for each group
/// Values    to the nearest channel, see select_channels_jointly. The authors remove one more, and
///           count a head of size 128 as 512 / 3 units
/// Errors    as standardized_channel_scores and select_channels_jointly
/// Source    as standardized_channel_scores
[[nodiscard]] inline std::vector<std::vector<Index>> select_flap(
    const DependencyGraph& graph, std::span<const ChannelGroup> groups,
    std::span<const MemberScores> scores, const ChannelSelection& selection = {}) {
  if (scores.size() != groups.size())
    throw ShapeError(std::to_string(groups.size()) + " groups need scores for each");
  std::vector<std::vector<double>> of_channels;
  std::vector<double> costs;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    of_channels.push_back(standardized_channel_scores(groups[g], scores[g]));
    costs.push_back(static_cast<double>(graph.parameters_per_channel(groups[g])));
  }
  return select_channels_jointly(groups, of_channels, selection, costs);
}

}  // namespace pare
