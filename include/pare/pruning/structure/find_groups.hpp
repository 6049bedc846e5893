#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "pare/pruning/structure/axis_table.hpp"
#include "pare/pruning/structure/channel_group.hpp"
#include "pare/pruning/structure/couplings.hpp"
#include "pare/pruning/structure/element_sets.hpp"

/// Groups of channels from what was coupled.
namespace pare::detail {

/// Runs matter to a group when each of its channels is within one, and one has several.
inline void find_runs(const AxisTable& axes, const std::vector<AxisBalance>& balances,
                      ChannelGroup& group) {
  for (const AxisBalance& balance : balances) {
    const ChannelGroup::Member* const member = group.find(axes[balance.axis].name);
    if (!member) continue;
    std::vector<Index> runs;
    for (Index c = 0; c < group.channels(); ++c) {
      std::set<Index> of_channel;
      for (const Index i : member->of(c))
        of_channel.insert(balance.run_of[to_size(axes[balance.axis].alive[to_size(i)])]);
      if (of_channel.size() != 1 || *of_channel.begin() == no_channel) break;
      runs.push_back(*of_channel.begin());
    }
    if (runs.size() != group.origins.size()) continue;
    if (std::set<Index>(runs.begin(), runs.end()).size() == runs.size()) continue;
    // Of several balances the runs are the intersections.
    std::map<std::pair<Index, Index>, Index> numbers;
    for (std::size_t c = 0; c < runs.size(); ++c) {
      const Index before = group.run_of.empty() ? 0 : group.run_of[c];
      runs[c] = numbers.emplace(std::pair(before, runs[c]), static_cast<Index>(numbers.size()))
                    .first->second;
    }
    group.run_of = std::move(runs);
  }
}

/// All channels with more than one element, in groups of those that are alike.
[[nodiscard]] inline std::vector<ChannelGroup> find_groups(
    const AxisTable& axes, const ElementSets& sets, const std::vector<AxisBalance>& balances) {
  // Channels in the order of their lowest element, each with how often it has an index of an axis.
  using Signature = std::vector<std::pair<std::size_t, Index>>;
  struct Channel {
    Index lowest;
    Signature signature;
  };
  std::vector<Channel> channels;
  std::vector<Index> channel_of(to_size(axes.elements()), no_channel),
      index_of(to_size(axes.elements()));
  for (std::size_t a = 0; a < axes.size(); ++a)
    for (std::size_t i = 0; i < axes[a].alive.size(); ++i) {
      const Index e = axes.element(a, axes[a].alive[i]);
      index_of[to_size(e)] = static_cast<Index>(i);
      if (sets.is_alone(e)) continue;
      Index& channel = channel_of[to_size(sets.root_of(e))];
      if (channel == no_channel) {
        channel = static_cast<Index>(channels.size());
        channels.push_back({e, {}});
      }
      Signature& signature = channels[to_size(channel)].signature;
      if (signature.empty() || signature.back().first != a) signature.emplace_back(a, 0);
      ++signature.back().second;
    }

  std::vector<ChannelGroup> groups;
  std::map<Signature, std::size_t> group_of_signature;
  for (const Channel& channel : channels) {
    const auto [found, is_new] = group_of_signature.emplace(channel.signature, groups.size());
    if (is_new) {
      ChannelGroup& made = groups.emplace_back();
      for (const auto& [a, count] : channel.signature)
        made.members.push_back({axes[a].name, axes[a].stored, count, {}});
      made.root_extent = axes[channel.signature.front().first].extent;
    }
    ChannelGroup& group = groups[found->second];
    if (sets.is_fixed(channel.lowest)) group.fixed.push_back(group.channels());
    group.origins.push_back(channel.lowest - axes[channel.signature.front().first].first_element);
    std::vector<Index> elements;
    sets.for_each_with(channel.lowest, [&](Index e) { elements.push_back(e); });
    std::sort(elements.begin(), elements.end());
    std::size_t k = 0;
    for (ChannelGroup::Member& member : group.members)
      for (Index n = 0; n < member.per_channel; ++n)
        member.indices.push_back(index_of[to_size(elements[k++])]);
  }
  for (ChannelGroup& group : groups) find_runs(axes, balances, group);
  return groups;
}

}  // namespace pare::detail
