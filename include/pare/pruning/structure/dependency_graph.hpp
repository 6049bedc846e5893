#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/tensor.hpp"
#include "pare/pruning/structure/axis_table.hpp"
#include "pare/pruning/structure/channel_group.hpp"
#include "pare/pruning/structure/couplings.hpp"
#include "pare/pruning/structure/element_sets.hpp"
#include "pare/pruning/structure/find_groups.hpp"
#include "pare/pruning/structure/structure_edit.hpp"
#include "pare/pruning/structure/take.hpp"

/// Which channels of a network's tensors go together, and their removal.
namespace pare {

/// The channels of a network that must be removed together.
///
/// Tensors and activations are added by name, with names for their axes, and axes are coupled
/// (couplings.hpp). Two indices go together when couplings lead from one to the other; an index
/// that no coupling names stays. What is removed is removed everywhere, or refused and nothing
/// changes: declared attributes remain whole, no axis becomes empty, what is to be kept is kept.
///
///     DependencyGraph graph;
///     graph.add_tensor("up.weight", {128, 32}, {"out", "in"});
///     graph.add_tensor("down.weight", {32, 128}, {"out", "in"});
///     graph.couple({"up.weight", "out"}, {"down.weight", "in"});
///     const ChannelGroup group = graph.groups().front();
///     graph.remove(group, select_channels(group, scores, {.ratio = 0.5}));
///     Matrix<float> smaller = graph.slice("up.weight", up.view());
///
/// Zeros and removal: outputs are equal whether a group's channels are zero (weights, biases, gamma
/// and beta of batch norms) or removed, if everything that computes with them maps 0 to 0 channel
/// by channel. Layer norm and RMS norm over the channels do not: removal changes mean and variance.
/// Nor does a batch norm whose beta stays, nor a query head that is removed from a value that stays
/// (attention without scores is the mean of values): there only zeros in what reads the channels
/// are the same.
///
/// Errors    ArgumentError for a name that is unknown or taken, an index or option out of range, a
///           removal that is refused; ShapeError for extents that do not fit
/// Order     groups depend on the order in which axes are added, not on that of couplings
/// Source    Fang et al., "DepGraph: Towards Any Structural Pruning", 2023. Departs: nothing is
///           traced, and channels of one index set are found by union of indices, so that a channel
///           may have any number of indices of an axis
class DependencyGraph {
 public:
  /// A tensor of rank 1 to 4, with a name for each axis.
  void add_tensor(const std::string& name, const std::vector<Index>& shape,
                  const std::vector<std::string>& axes) {
    if (shape.empty() || shape.size() > 4 || shape.size() != axes.size())
      throw ShapeError(name + " needs 1 to 4 axes, each with a name");
    add(name, shape, axes, true);
  }
  /// A vector of a value for each channel.
  void add_vector(const std::string& name, Index extent) { add(name, {extent}, {""}, true); }
  /// Channels that no tensor stores: of activations, or numbers of heads.
  void add_channels(const std::string& name, Index extent) { add(name, {extent}, {""}, false); }

  /// Throws ShapeError when the extents do not fit the coupling, and when a part of `to` overlaps
  /// another that was coupled to it and is not the same; ArgumentError after a removal.
  void couple(const AxisName& from, const AxisName& to, const Coupling& coupling = SameChannels{}) {
    if (!edits_.empty())
      throw ArgumentError("couple " + to_string(from) + " and " + to_string(to) +
                          " before channels are removed");
    std::visit([&](const auto& kind) { couple_as(axes_.find(from), axes_.find(to), kind); },
               coupling);
  }

  /// Channels with any of these indices, or with any index of the axis, stay. What the network
  /// reads and what it answers should be kept.
  void keep(const AxisName& name) {
    const std::size_t a = axes_.find(name);
    for (const Index origin : axes_[a].alive) sets_.fix(axes_.element(a, origin));
  }
  void keep(const AxisName& name, std::span<const Index> indices) {
    const std::size_t a = axes_.find(name);
    for (const Index i : indices) detail::require_index(i, axes_.extent(a), to_string(name));
    for (const Index i : indices) sets_.fix(axes_.element(a, axes_[a].alive[to_size(i)]));
  }

  /// An axis made of `runs` equal runs, all of which lose as many indices unless one loses all:
  /// query heads that share a key-value head that stays, the channels of a convolution's groups.
  void balance(const AxisName& name, Index runs) {
    const std::size_t a = axes_.find(name);
    const Index extent = axes_.extent(a);
    if (runs < 1 || extent % runs != 0)
      throw ShapeError(to_string(name) + " of " + std::to_string(extent) + " is not " +
                       std::to_string(runs) + " equal runs");
    detail::AxisBalance balance{a, std::vector<Index>(to_size(axes_[a].extent), no_channel), runs};
    for (Index i = 0; i < extent; ++i)
      balance.run_of[to_size(axes_[a].alive[to_size(i)])] = i / (extent / runs);
    balances_.push_back(std::move(balance));
  }

  /// Throws ArgumentError when it is not whole now.
  void declare(StructureAttribute attribute) {
    if (attribute.divisor < 1)
      throw ArgumentError(attribute.name + ": a divisor is at least 1, not " +
                          std::to_string(attribute.divisor));
    for (const StructureAttribute& other : attributes_)
      if (other.name == attribute.name)
        throw ArgumentError("attribute " + attribute.name + " was declared before");
    (void)detail::value_of(attribute, axes_, {});
    attributes_.push_back(std::move(attribute));
  }
  /// Throws ArgumentError for a name that was not declared.
  [[nodiscard]] Index attribute(std::string_view name) const {
    for (const StructureAttribute& attribute : attributes_)
      if (attribute.name == name) return detail::value_of(attribute, axes_, {});
    throw ArgumentError("no attribute " + std::string(name) + " was declared");
  }
  [[nodiscard]] const std::vector<StructureAttribute>& attributes() const noexcept {
    return attributes_;
  }

  [[nodiscard]] Index extent(const AxisName& name) const { return axes_.extent(axes_.find(name)); }
  /// What is left of a tensor.
  [[nodiscard]] std::vector<Index> shape(const std::string& tensor) const {
    const auto [first, last] = axes_.axes_of(tensor);
    std::vector<Index> shape;
    for (std::size_t a = first; a < last; ++a) shape.push_back(axes_.extent(a));
    return shape;
  }
  /// Which indices are left, as the axis was added.
  [[nodiscard]] const std::vector<Index>& kept(const AxisName& name) const {
    return axes_[axes_.find(name)].alive;
  }
  /// Elements of all stored tensors.
  [[nodiscard]] Index parameters() const;
  /// Elements that go with one channel of a group, others being there.
  [[nodiscard]] Index parameters_per_channel(const ChannelGroup& group) const;

  /// All channels with more than one index, in groups of those that are alike. Every index is in
  /// one channel at most.
  [[nodiscard]] std::vector<ChannelGroup> groups() const {
    return detail::find_groups(axes_, sets_, balances_);
  }
  /// The group with a channel that has this index of this axis; throws ArgumentError if none has.
  [[nodiscard]] ChannelGroup group_of(const AxisName& axis, Index index = 0) const;

  /// Removes channels, by their number in the group, and records it. Groups that were found before
  /// other channels were removed may be used. Returns what is left of each axis that changed.
  std::vector<AxisCut> remove(const ChannelGroup& group, std::span<const Index> channels) {
    StructureEdit edit{group.root(), group.root_extent, {}};
    for (const Index channel : channels) {
      detail::require_index(channel, group.channels(), "the group of " + to_string(group.root()));
      edit.indices.push_back(group.origins[to_size(channel)]);
    }
    return apply(edit);
  }
  /// The same from a record.
  std::vector<AxisCut> apply(const StructureEdit& edit);
  /// All or none of them.
  void replay(std::span<const StructureEdit> edits) {
    DependencyGraph edited = *this;
    for (const StructureEdit& edit : edits) edited.apply(edit);
    *this = std::move(edited);
  }
  [[nodiscard]] const std::vector<StructureEdit>& edits() const noexcept { return edits_; }

  /// What all removals left of a tensor of the shape that was added.
  template <class T, std::size_t Rank>
  [[nodiscard]] Tensor<std::remove_const_t<T>, Rank> slice(const std::string& tensor,
                                                           TensorView<T, Rank> source,
                                                           const Execution& execution = {}) const {
    const auto [first, last] = axes_.axes_of(tensor);
    std::array<std::span<const Index>, Rank> lists;
    bool same = last - first == Rank;
    for (std::size_t d = 0; same && d < Rank; ++d) {
      lists[d] = axes_[first + d].alive;
      same = axes_[first + d].extent == source.extent(d);
    }
    if (!same)
      throw ShapeError(tensor + " was not added with shape " + pare::to_string(source.shape()));
    return take(source, lists, execution);
  }
  template <class T, std::size_t Rank>
  [[nodiscard]] Tensor<T, Rank> slice(const std::string& tensor, const Tensor<T, Rank>& source,
                                      const Execution& execution = {}) const {
    return slice(tensor, source.view(), execution);
  }

 private:
  void add(const std::string& name, const std::vector<Index>& shape,
           const std::vector<std::string>& axes, bool stored) {
    axes_.add(name, shape, axes, stored);
    sets_.grow(axes_.elements());
    part_of_.resize(to_size(axes_.elements()), no_channel);
  }
  static std::size_t to_size(Index i) noexcept { return detail::to_size(i); }

  template <class Kind>
  void couple_as(std::size_t from, std::size_t to, const Kind& kind) {
    const Index from_extent = axes_.extent(from), to_extent = axes_.extent(to);
    const auto refuse = [&](const std::string& reason) {
      throw ShapeError(to_string(axes_[from].name) + " of " + std::to_string(from_extent) +
                       " cannot be " + std::string(Kind::name) + " in " +
                       to_string(axes_[to].name) + " of " + std::to_string(to_extent) + reason);
    };
    if (from == to) refuse(": an axis is coupled to another one");
    if (!kind.fits(from_extent, to_extent)) refuse("");
    std::vector<std::pair<Index, Index>> pairs;  // of elements
    for (Index j = 0; j < to_extent; ++j)
      if (const Index i = kind.belongs_to(j, from_extent); i != no_channel)
        pairs.emplace_back(axes_.element(from, axes_[from].alive[to_size(i)]),
                           axes_.element(to, axes_[to].alive[to_size(j)]));
    if (static_cast<Index>(pairs.size()) < to_extent) claim_part(pairs, refuse);
    for (const auto& [a, b] : pairs) sets_.unite(a, b);
  }

  /// Parts of an axis are apart or the same.
  template <class Refuse>
  void claim_part(const std::vector<std::pair<Index, Index>>& pairs, const Refuse& refuse) {
    const Index part = part_of_[to_size(pairs.front().second)];
    for (const auto& [a, b] : pairs)
      if (part_of_[to_size(b)] != part) refuse(": it overlaps another part");
    if (part == no_channel) {
      for (const auto& [a, b] : pairs)
        part_of_[to_size(b)] = static_cast<Index>(part_sizes_.size());
      part_sizes_.push_back(static_cast<Index>(pairs.size()));
    } else if (part_sizes_[to_size(part)] != static_cast<Index>(pairs.size())) {
      refuse(": it overlaps another part");
    }
  }

  detail::AxisTable axes_;
  detail::ElementSets sets_;
  std::vector<Index> part_of_, part_sizes_;  ///< by element; by part
  std::vector<detail::AxisBalance> balances_;
  std::vector<StructureAttribute> attributes_;
  std::vector<StructureEdit> edits_;
};

inline Index DependencyGraph::parameters() const {
  Index sum = 0;
  for (const auto& [name, range] : axes_.tensors()) {
    Index count = axes_[range.first].stored ? 1 : 0;
    for (std::size_t a = range.first; a < range.second; ++a) count *= axes_.extent(a);
    sum += count;
  }
  return sum;
}

inline Index DependencyGraph::parameters_per_channel(const ChannelGroup& group) const {
  // Of a tensor that has several axes in the group, what is left when all are cut.
  std::map<std::string, Index> whole, left;
  for (const ChannelGroup::Member& member : group.members) {
    if (!member.stored || whole.contains(member.axis.tensor)) continue;
    Index& all = whole[member.axis.tensor] = 1;
    Index& rest = left[member.axis.tensor] = 1;
    const auto [first, last] = axes_.axes_of(member.axis.tensor);
    for (std::size_t a = first; a < last; ++a) {
      const ChannelGroup::Member* const cut = group.find(axes_[a].name);
      all *= axes_.extent(a);
      rest *= axes_.extent(a) - (cut ? cut->per_channel : 0);
    }
  }
  Index sum = 0;
  for (const auto& [tensor, count] : whole) sum += count - left[tensor];
  return sum;
}

inline ChannelGroup DependencyGraph::group_of(const AxisName& name, Index index) const {
  const std::size_t a = axes_.find(name);
  detail::require_index(index, axes_.extent(a), to_string(name));
  for (ChannelGroup& group : groups())
    if (const ChannelGroup::Member* const member = group.find(axes_[a].name))
      if (std::find(member->indices.begin(), member->indices.end(), index) != member->indices.end())
        return std::move(group);
  throw ArgumentError("nothing is coupled to index " + std::to_string(index) + " of " +
                      to_string(name));
}

inline std::vector<AxisCut> DependencyGraph::apply(const StructureEdit& edit) {
  const detail::PendingAxes left = detail::axes_after(edit, axes_, sets_);
  for (const StructureAttribute& attribute : attributes_)
    (void)detail::value_of(attribute, axes_, left);
  for (const detail::AxisBalance& balance : balances_)
    if (const auto found = left.find(balance.axis); found != left.end())
      detail::require_balance(balance, axes_, found->second);
  std::vector<AxisCut> cuts = detail::cuts_of(axes_, left);
  edits_.push_back({axes_[axes_.find(edit.root)].name, edit.extent, edit.indices});
  for (const auto& [a, alive] : left) axes_.set_alive(a, alive);
  return cuts;
}

}  // namespace pare
