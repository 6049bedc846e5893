#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/pruning/structure/channel_group.hpp"

namespace pare {

struct ChannelSelection {
  /// The share of channels to remove.
  double ratio = 0.5;
  /// Channels that are left are a multiple of it. It counts channels: heads, if those are heads.
  Index multiple = 1;

  /// ratio * n as a number of channels to remove.
  enum class Count : unsigned char {
    half_even,  ///< to the nearest, as PyTorch's pruning
    down,
    up,  ///< n - floor(n (1 - ratio)), as Torch-Pruning
  };
  Count count = Count::half_even;
  /// Channels that are left, to a multiple.
  enum class Multiple : unsigned char {
    up,    ///< never removes more than asked for
    down,  ///< removes more, as Torch-Pruning; never all
  };
  Multiple rounding = Multiple::up;
  /// The largest share that one group may lose.
  double largest_ratio = 1.0;
};

namespace detail {

[[nodiscard]] inline Index count_removed_channels(Index n, const ChannelSelection& selection) {
  const double size = static_cast<double>(n), exact = selection.ratio * size;
  switch (selection.count) {
    case ChannelSelection::Count::down:
      return static_cast<Index>(exact);
    case ChannelSelection::Count::up:
      return n - static_cast<Index>(size * (1.0 - selection.ratio));
    case ChannelSelection::Count::half_even:
      break;
  }
  const double below = std::floor(exact), rest = exact - below;
  const auto k = static_cast<Index>(below);
  return rest > 0.5 || (rest == 0.5 && k % 2 != 0) ? k + 1 : k;
}

inline void require_channel_selection(const ChannelSelection& selection) {
  if (!(selection.ratio >= 0.0 && selection.ratio <= 1.0))
    throw ArgumentError("a ratio of channels is in [0, 1], not " + std::to_string(selection.ratio));
  if (!(selection.largest_ratio >= 0.0 && selection.largest_ratio <= 1.0))
    throw ArgumentError("the largest ratio of a group is in [0, 1], not " +
                        std::to_string(selection.largest_ratio));
  if (selection.multiple < 1)
    throw ArgumentError("channels cannot be a multiple of " + std::to_string(selection.multiple));
}

inline void require_channel_scores(const ChannelGroup& group, std::span<const double> scores) {
  if (static_cast<Index>(scores.size()) != group.channels())
    throw ShapeError(std::to_string(scores.size()) + " scores do not fit the " +
                     std::to_string(group.channels()) + " channels of " + to_string(group.root()));
  for (std::size_t c = 0; c < scores.size(); ++c)
    if (!is_finite(scores[c]))
      throw NumericError("the score of channel " + std::to_string(c) + " of " +
                         to_string(group.root()) + " is not finite");
}

/// How many channels a group keeps at least.
[[nodiscard]] inline Index least_kept_channels(Index n, Index fixed,
                                               const ChannelSelection& selection) {
  // A product that is rounded up costs no channel.
  return std::max({Index{1}, fixed,
                   static_cast<Index>(std::ceil(
                       static_cast<double>(n) * (1.0 - selection.largest_ratio) - 1e-9))});
}
[[nodiscard]] inline Index least_kept_channels(const ChannelGroup& group,
                                               const ChannelSelection& selection) {
  return least_kept_channels(group.channels(), static_cast<Index>(group.fixed.size()), selection);
}

/// How many of `size` channels of one of `runs` are left, where all runs are to keep about `keep`.
[[nodiscard]] inline Index kept_of_run(Index size, Index runs, Index keep, Index least,
                                       const ChannelSelection& selection) {
  // Of each run, so that all of them together are a multiple.
  const Index unit = selection.multiple / std::gcd(selection.multiple, runs);
  Index kept = std::max(ceil_div(keep, runs), least);
  if (selection.rounding == ChannelSelection::Multiple::down && kept - kept % unit >= least)
    kept -= kept % unit;
  return unit >= size ? size : std::min(round_up(kept, unit), size);
}

/// The channels with the lowest scores, so that about `keep` are left.
[[nodiscard]] inline std::vector<Index> lowest_channels(const ChannelGroup& group,
                                                        std::span<const double> scores, Index keep,
                                                        const ChannelSelection& selection) {
  std::map<Index, std::vector<Index>> candidates;
  std::map<Index, Index> fixed;
  for (Index c = 0; c < group.channels(); ++c) {
    const Index run = group.run_of.empty() ? 0 : group.run_of[static_cast<std::size_t>(c)];
    const bool may = !std::binary_search(group.fixed.begin(), group.fixed.end(), c);
    if (auto& of_run = candidates[run]; may) of_run.push_back(c);
    fixed[run] += !may;
  }
  const auto runs = static_cast<Index>(candidates.size());
  Index size = group.channels();  // of the smallest run
  for (const auto& [run, channels] : candidates)
    size = std::min(size, static_cast<Index>(channels.size()) + fixed[run]);
  Index least = ceil_div(least_kept_channels(group, selection), runs);
  for (const auto& [run, count] : fixed) least = std::max(least, count);
  const Index kept = kept_of_run(size, runs, keep, least, selection);

  std::vector<Index> removed;
  for (auto& [run, channels] : candidates) {
    std::stable_sort(channels.begin(), channels.end(), [&](Index a, Index b) {
      return scores[static_cast<std::size_t>(a)] < scores[static_cast<std::size_t>(b)];
    });
    removed.insert(removed.end(), channels.begin(), channels.begin() + (size - kept));
  }
  std::sort(removed.begin(), removed.end());
  return removed;
}

}  // namespace detail

/// The channels of a group to remove: those with the lowest scores, of equal ones the lowest index.
///
/// Shapes    a score for each channel
/// Values    ascending; at least one channel is left, and those that are fixed, so that fewer may
///           be removed than were asked for. Where the group has runs, each loses as many
/// Errors    ArgumentError for options out of range; ShapeError; NumericError naming a score that
///           is not finite
/// Edge      a group of no more channels than the multiple loses none
[[nodiscard]] inline std::vector<Index> select_channels(const ChannelGroup& group,
                                                        std::span<const double> scores,
                                                        const ChannelSelection& selection = {}) {
  detail::require_channel_selection(selection);
  detail::require_channel_scores(group, scores);
  const Index keep = group.channels() - detail::count_removed_channels(group.channels(), selection);
  return detail::lowest_channels(group, scores, keep, selection);
}

/// How many of n parts that are all alike would go, where there is no group: blocks, experts.
///
/// Errors    ArgumentError for options out of range, and for no part
[[nodiscard]] inline Index removed_channels(Index n, const ChannelSelection& selection = {}) {
  detail::require_channel_selection(selection);
  if (n < 1) throw ArgumentError("there is no channel of " + std::to_string(n));
  const Index least = detail::least_kept_channels(n, 0, selection);
  return n - detail::kept_of_run(n, 1, n - detail::count_removed_channels(n, selection), least,
                                 selection);
}

/// The same of all groups together: one threshold for their scores. The ratio is of channels, or
/// with costs, one for a channel of each group (DependencyGraph::parameters_per_channel), of what
/// all channels cost. Where a group may lose no more, others do; what its multiple and its runs
/// change is not made up.
///
/// Shapes    a vector of scores for each group; results for each group
/// Errors    as select_channels; ArgumentError for a cost that is not above 0
[[nodiscard]] inline std::vector<std::vector<Index>> select_channels_jointly(
    std::span<const ChannelGroup> groups, std::span<const std::vector<double>> scores,
    const ChannelSelection& selection = {}, std::span<const double> costs = {}) {
  detail::require_channel_selection(selection);
  if (scores.size() != groups.size() || (!costs.empty() && costs.size() != groups.size()))
    throw ShapeError(std::to_string(groups.size()) + " groups need scores and costs for each");
  std::vector<std::tuple<double, std::size_t, Index>> channels;  // score, group, channel
  Index count = 0;
  double total = 0.0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    detail::require_channel_scores(groups[g], scores[g]);
    if (!costs.empty() && !(costs[g] > 0.0 && is_finite(costs[g])))
      throw ArgumentError("the cost of a channel of " + to_string(groups[g].root()) +
                          " is above 0, not " + std::to_string(costs[g]));
    count += groups[g].channels();
    total += costs.empty() ? 0.0 : costs[g] * static_cast<double>(groups[g].channels());
    for (Index c = 0; c < groups[g].channels(); ++c)
      if (!std::binary_search(groups[g].fixed.begin(), groups[g].fixed.end(), c))
        channels.emplace_back(scores[g][static_cast<std::size_t>(c)], g, c);
  }
  std::sort(channels.begin(), channels.end());

  std::vector<Index> keep, least;
  for (const ChannelGroup& group : groups) {
    keep.push_back(group.channels());
    least.push_back(std::min(group.channels(), detail::least_kept_channels(group, selection)));
  }
  // To the nearest number of channels or of cost.
  double left = costs.empty()
                    ? static_cast<double>(detail::count_removed_channels(count, selection))
                    : selection.ratio * total;
  for (const auto& [score, g, channel] : channels) {
    const double cost = costs.empty() ? 1.0 : costs[g];
    if (left < (costs.empty() ? 1.0 : cost / 2.0)) break;
    if (keep[g] <= least[g]) continue;
    --keep[g];
    left -= cost;
  }
  std::vector<std::vector<Index>> removed;
  for (std::size_t g = 0; g < groups.size(); ++g)
    removed.push_back(detail::lowest_channels(groups[g], scores[g], keep[g], selection));
  return removed;
}

}  // namespace pare
