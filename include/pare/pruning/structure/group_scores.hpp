#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/pruning/structure/channel_group.hpp"

namespace pare {

/// How scores of the members of a group become one.
enum class GroupReduction : unsigned char { mean, sum, max, product, first, last };

/// How scores of a group are made comparable with those of other groups.
enum class GroupNormalization : unsigned char {
  none,
  mean,      ///< s / mean(s)
  sum,       ///< s / sum(s)
  max,       ///< s / max(s)
  min_max,   ///< (s - min) / (max - min + 1e-8)
  gaussian,  ///< (s - mean) / (deviation + 1e-8), the unbiased one
  sentinel,  ///< s / (t + 1e-8), t the score of rank floor(quantile * n), from 0; 0.5: the median
  lamp,      ///< s / the sum of s and all that are larger
};

struct GroupScoreOptions {
  GroupReduction reduction = GroupReduction::mean;
  GroupNormalization normalization = GroupNormalization::mean;
  double quantile = 0.5;
};

/// Of each index of an axis, as it is now: axis_norms, axis_taylor or any other.
struct MemberScores {
  AxisName axis;
  std::vector<double> values;
};

namespace detail {

inline void normalize_scores(std::vector<double>& scores, const GroupScoreOptions& options) {
  const auto n = static_cast<double>(scores.size());
  const double sum = std::accumulate(scores.begin(), scores.end(), 0.0), mean = sum / n;
  const auto [smallest, largest] = std::minmax_element(scores.begin(), scores.end());
  const double lo = *smallest, hi = *largest;
  const auto rescale = [&](double origin, double unit) {
    if (unit == 0.0) return;
    for (double& s : scores) s = (s - origin) / unit;
  };
  switch (options.normalization) {
    case GroupNormalization::none:
      return;
    case GroupNormalization::mean:
      return rescale(0.0, mean);
    case GroupNormalization::sum:
      return rescale(0.0, sum);
    case GroupNormalization::max:
      return rescale(0.0, hi);
    case GroupNormalization::min_max:
      return rescale(lo, hi - lo + 1e-8);
    case GroupNormalization::gaussian: {
      double squares = 0.0;
      for (const double s : scores) squares += (s - mean) * (s - mean);
      return rescale(mean, std::sqrt(squares / std::max(1.0, n - 1.0)) + 1e-8);
    }
    case GroupNormalization::sentinel: {
      std::vector<double> sorted = scores;
      std::sort(sorted.begin(), sorted.end());
      const auto rank = static_cast<std::size_t>(options.quantile * n);
      return rescale(0.0, sorted[std::min(rank, sorted.size() - 1)] + 1e-8);
    }
    case GroupNormalization::lamp: {
      std::vector<std::size_t> order(scores.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
      double larger = 0.0;
      for (const std::size_t c : order) {
        larger += scores[c];
        if (larger != 0.0) scores[c] /= larger;
      }
      return;
    }
  }
  throw ArgumentError("there is no such normalization of group scores");
}

}  // namespace detail

/// How important each channel of a group is, low = unimportant: a member's score of a channel is
/// the sum over its indices; the members' are reduced, then the group's are normalized.
///
/// Shapes    scores of one or more members, each of the extent of its axis; one result a channel
/// Errors    ArgumentError for an axis that is no member of the group, no members, or a quantile
///           outside [0, 1]; ShapeError for another extent; NumericError naming a score that is not
///           finite
/// Edge      where a divisor is 0, as for scores that all are, nothing is divided. first and last
///           go by the order in which scores are given
/// Accuracy  double
/// Source    Fang et al., "DepGraph: Towards Any Structural Pruning", 2023; lamp: Lee et al.,
///           "Layer-adaptive Sparsity for the Magnitude-based Pruning", 2021. Departs: the authors'
///           code leaves the gamma of batch norms out of Taylor scores; here whatever is given
///           counts
[[nodiscard]] inline std::vector<double> group_scores(const ChannelGroup& group,
                                                      std::span<const MemberScores> scores,
                                                      const GroupScoreOptions& options = {}) {
  if (scores.empty()) throw ArgumentError("scores of a group need those of a member");
  if (!(options.quantile >= 0.0 && options.quantile <= 1.0))
    throw ArgumentError("a quantile is in [0, 1], not " + std::to_string(options.quantile));
  std::vector<double> result;
  for (const MemberScores& given : scores) {
    const ChannelGroup::Member* const member = group.find(given.axis);
    if (!member)
      throw ArgumentError(to_string(given.axis) + " is no member of the group of " +
                          to_string(group.root()));
    std::vector<double> sums;
    for (Index c = 0; c < group.channels(); ++c) {
      double sum = 0.0;
      for (const Index i : member->of(c)) {
        if (i >= static_cast<Index>(given.values.size()))
          throw ShapeError(std::to_string(given.values.size()) + " scores do not fit " +
                           to_string(given.axis));
        sum += given.values[static_cast<std::size_t>(i)];
      }
      if (!is_finite(sum))
        throw NumericError("the score of channel " + std::to_string(c) + " in " +
                           to_string(given.axis) + " is not finite");
      sums.push_back(sum);
    }
    if (result.empty() || options.reduction == GroupReduction::last) {
      result = std::move(sums);
      continue;
    }
    for (std::size_t c = 0; c < sums.size(); ++c) switch (options.reduction) {
        case GroupReduction::mean:
        case GroupReduction::sum:
          result[c] += sums[c];
          break;
        case GroupReduction::max:
          result[c] = std::max(result[c], sums[c]);
          break;
        case GroupReduction::product:
          result[c] *= sums[c];
          break;
        case GroupReduction::first:
        case GroupReduction::last:
          break;
      }
  }
  if (options.reduction == GroupReduction::mean)
    for (double& s : result) s /= static_cast<double>(scores.size());
  detail::normalize_scores(result, options);
  return result;
}

}  // namespace pare
