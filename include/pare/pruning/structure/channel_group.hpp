#pragma once

#include <compare>
#include <span>
#include <string>
#include <vector>

#include "pare/core/index.hpp"

namespace pare {

/// An axis of a tensor; the name of an only axis may be left out.
struct AxisName {
  std::string tensor;
  std::string axis{};
  friend auto operator<=>(const AxisName&, const AxisName&) = default;
};
/// "conv1.weight[out]", for messages.
[[nodiscard]] inline std::string to_string(const AxisName& name) {
  return name.axis.empty() ? name.tensor : name.tensor + "[" + name.axis + "]";
}

/// Channels that are alike: each has as many indices of the same axes, and is removed from all of
/// them at once. A channel may be a whole head.
struct ChannelGroup {
  struct Member {
    AxisName axis;
    bool stored = true;     ///< in a tensor, not in activations only
    Index per_channel = 1;  ///< indices of this axis for each channel
    /// Of all channels one after another, each ascending.
    std::vector<Index> indices{};

    [[nodiscard]] std::span<const Index> of(Index channel) const {
      return std::span(indices).subspan(static_cast<std::size_t>(channel * per_channel),
                                        static_cast<std::size_t>(per_channel));
    }
    friend bool operator==(const Member&, const Member&) = default;
  };

  /// In the order in which the axes were added; the first is the root.
  std::vector<Member> members{};
  /// For each channel its lowest index of the root, as that axis was added.
  std::vector<Index> origins{};
  Index root_extent = 0;  ///< of the root, as it was added
  /// Channels that must stay, ascending.
  std::vector<Index> fixed{};
  /// Where axes are balanced: for each channel the run that it is of. Runs lose equally many.
  std::vector<Index> run_of{};

  [[nodiscard]] Index channels() const noexcept { return static_cast<Index>(origins.size()); }
  [[nodiscard]] const AxisName& root() const { return members.front().axis; }
  [[nodiscard]] const Member* find(const AxisName& axis) const {
    for (const Member& member : members)
      if (member.axis == axis) return &member;
    return nullptr;
  }
  friend bool operator==(const ChannelGroup&, const ChannelGroup&) = default;
};

}  // namespace pare
