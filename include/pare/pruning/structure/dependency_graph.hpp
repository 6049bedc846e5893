#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <iterator>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/tensor.hpp"
#include "pare/pruning/structure/couplings.hpp"
#include "pare/pruning/structure/take.hpp"

/// Which channels of a network's tensors go together, and their removal.
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

/// A removal as plain data: the channels with these indices of the axis `root`. Extent and indices
/// are those of the axis as it was added, so that edits may be applied in any order.
struct StructureEdit {
  AxisName root;
  Index extent = 0;
  std::vector<Index> indices{};
  friend bool operator==(const StructureEdit&, const StructureEdit&) = default;
};

/// What a removal left of an axis: indices before it, ascending.
struct AxisCut {
  AxisName axis;
  bool stored = true;
  std::vector<Index> kept{};
};

/// A number of a model's configuration that follows from extents:
/// extent(axis) / (divisor * extent(divisor_axis)), where an empty name counts as 1.
struct StructureAttribute {
  std::string name;
  AxisName axis;
  Index divisor = 1;
  AxisName divisor_axis{};
};

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
    std::visit([&](const auto& kind) { couple_as(find_axis(from), find_axis(to), kind); },
               coupling);
  }

  /// Channels with any of these indices, or with any index of the axis, stay. What the network
  /// reads and what it answers should be kept.
  void keep(const AxisName& name) {
    const std::size_t a = find_axis(name);
    for (const Index origin : axes_[a].alive) fix(element(a, origin));
  }
  void keep(const AxisName& name, std::span<const Index> indices) {
    const std::size_t a = find_axis(name);
    for (const Index i : indices) require_index(i, extent_of(a), to_string(name));
    for (const Index i : indices) fix(element(a, axes_[a].alive[to_size(i)]));
  }

  /// An axis made of `runs` equal runs, all of which lose as many indices unless one loses all:
  /// query heads that share a key-value head that stays, the channels of a convolution's groups.
  void balance(const AxisName& name, Index runs) {
    const std::size_t a = find_axis(name);
    const Index extent = extent_of(a);
    if (runs < 1 || extent % runs != 0)
      throw ShapeError(to_string(name) + " of " + std::to_string(extent) + " is not " +
                       std::to_string(runs) + " equal runs");
    Balance balance{a, std::vector<Index>(to_size(axes_[a].extent), no_channel), runs};
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
    (void)value_of(attribute, {});
    attributes_.push_back(std::move(attribute));
  }
  /// Throws ArgumentError for a name that was not declared.
  [[nodiscard]] Index attribute(std::string_view name) const {
    for (const StructureAttribute& attribute : attributes_)
      if (attribute.name == name) return value_of(attribute, {});
    throw ArgumentError("no attribute " + std::string(name) + " was declared");
  }
  [[nodiscard]] const std::vector<StructureAttribute>& attributes() const noexcept {
    return attributes_;
  }

  [[nodiscard]] Index extent(const AxisName& name) const { return extent_of(find_axis(name)); }
  /// What is left of a tensor.
  [[nodiscard]] std::vector<Index> shape(const std::string& tensor) const {
    const auto [first, last] = axes_of(tensor);
    std::vector<Index> shape;
    for (std::size_t a = first; a < last; ++a) shape.push_back(extent_of(a));
    return shape;
  }
  /// Which indices are left, as the axis was added.
  [[nodiscard]] const std::vector<Index>& kept(const AxisName& name) const {
    return axes_[find_axis(name)].alive;
  }
  /// Elements of all stored tensors.
  [[nodiscard]] Index parameters() const;
  /// Elements that go with one channel of a group, others being there.
  [[nodiscard]] Index parameters_per_channel(const ChannelGroup& group) const;

  /// All channels with more than one index, in groups of those that are alike. Every index is in
  /// one channel at most.
  [[nodiscard]] std::vector<ChannelGroup> groups() const;
  /// The group with a channel that has this index of this axis; throws ArgumentError if none has.
  [[nodiscard]] ChannelGroup group_of(const AxisName& axis, Index index = 0) const;

  /// Removes channels, by their number in the group, and records it. Groups that were found before
  /// other channels were removed may be used. Returns what is left of each axis that changed.
  std::vector<AxisCut> remove(const ChannelGroup& group, std::span<const Index> channels) {
    StructureEdit edit{group.root(), group.root_extent, {}};
    for (const Index channel : channels) {
      require_index(channel, group.channels(), "the group of " + to_string(group.root()));
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
    const auto [first, last] = axes_of(tensor);
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
  struct Axis {
    AxisName name;
    bool stored = true;
    Index extent = 0, first_element = 0;
    std::vector<Index> alive;  ///< indices as they were added, ascending
  };
  struct Balance {
    std::size_t axis;
    std::vector<Index> run_of;  ///< by index as it was added
    Index runs;
  };
  /// What axes are about to become.
  using Pending = std::map<std::size_t, std::vector<Index>>;

  static std::size_t to_size(Index i) noexcept { return static_cast<std::size_t>(i); }
  static void require_index(Index i, Index extent, const std::string& where) {
    if (i < 0 || i >= extent)
      throw ArgumentError("index " + std::to_string(i) + " is outside " + where + " of " +
                          std::to_string(extent));
  }

  void add(const std::string& name, const std::vector<Index>& shape,
           const std::vector<std::string>& axes, bool stored) {
    if (tensors_.contains(name)) throw ArgumentError(name + " was added before");
    for (std::size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] < 1)
        throw ShapeError(name + " has an axis of extent " + std::to_string(shape[d]));
      if (std::count(axes.begin(), axes.end(), axes[d]) > 1)
        throw ArgumentError(name + " has two axes named '" + axes[d] + "'");
    }
    const std::size_t first = axes_.size();
    for (std::size_t d = 0; d < shape.size(); ++d) {
      Axis axis{{name, axes[d]}, stored, shape[d], static_cast<Index>(parent_.size()), {}};
      for (Index i = 0; i < shape[d]; ++i) {
        axis.alive.push_back(i);
        axis_of_.push_back(axes_.size());
        next_.push_back(static_cast<Index>(parent_.size()));
        parent_.push_back(static_cast<Index>(parent_.size()));
        size_.push_back(1);
        fixed_.push_back(0);
        part_of_.push_back(no_channel);
      }
      axes_.push_back(std::move(axis));
    }
    tensors_.emplace(name, std::pair(first, axes_.size()));
  }

  [[nodiscard]] std::pair<std::size_t, std::size_t> axes_of(const std::string& tensor) const {
    const auto found = tensors_.find(tensor);
    if (found == tensors_.end()) throw ArgumentError("the graph has no tensor " + tensor);
    return found->second;
  }
  [[nodiscard]] std::size_t find_axis(const AxisName& name) const {
    const auto [first, last] = axes_of(name.tensor);
    if (name.axis.empty() && last - first == 1) return first;
    for (std::size_t a = first; a < last; ++a)
      if (axes_[a].name.axis == name.axis) return a;
    throw ArgumentError(name.tensor + " has no axis '" + name.axis + "'");
  }
  [[nodiscard]] Index extent_of(std::size_t a) const noexcept {
    return static_cast<Index>(axes_[a].alive.size());
  }

  // Elements are all indices of all axes, numbered through. Sets of them that go together are
  // trees (parent_) whose elements are also in a ring (next_).
  [[nodiscard]] Index element(std::size_t a, Index origin) const noexcept {
    return axes_[a].first_element + origin;
  }
  [[nodiscard]] Index root_of(Index e) const noexcept {
    while (parent_[to_size(e)] != e) e = parent_[to_size(e)];
    return e;
  }
  [[nodiscard]] bool is_coupled(Index e) const noexcept { return next_[to_size(e)] != e; }
  void fix(Index e) { fixed_[to_size(root_of(e))] = 1; }
  void unite(Index a, Index b) {
    for (Index* e : {&a, &b}) {
      const Index root = root_of(*e);
      while (*e != root) *e = std::exchange(parent_[to_size(*e)], root);
    }
    if (a == b) return;
    if (size_[to_size(a)] < size_[to_size(b)]) std::swap(a, b);
    parent_[to_size(b)] = a;
    size_[to_size(a)] += size_[to_size(b)];
    fixed_[to_size(a)] = static_cast<char>(fixed_[to_size(a)] | fixed_[to_size(b)]);
    std::swap(next_[to_size(a)], next_[to_size(b)]);
  }

  template <class Kind>
  void couple_as(std::size_t from, std::size_t to, const Kind& kind) {
    const Index from_extent = extent_of(from), to_extent = extent_of(to);
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
        pairs.emplace_back(element(from, axes_[from].alive[to_size(i)]),
                           element(to, axes_[to].alive[to_size(j)]));
    if (static_cast<Index>(pairs.size()) < to_extent) claim_part(pairs, refuse);
    for (const auto& [a, b] : pairs) unite(a, b);
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

  [[nodiscard]] Index value_of(const StructureAttribute& attribute, const Pending& pending) const {
    const auto extent_then = [&](const AxisName& name) {
      const std::size_t a = find_axis(name);
      const auto changed = pending.find(a);
      return changed == pending.end() ? extent_of(a) : static_cast<Index>(changed->second.size());
    };
    const Index extent = extent_then(attribute.axis);
    Index divisor = attribute.divisor;
    if (!attribute.divisor_axis.tensor.empty()) divisor *= extent_then(attribute.divisor_axis);
    if (extent % divisor != 0)
      throw ArgumentError(attribute.name + " would not be whole: " + to_string(attribute.axis) +
                          " of " + std::to_string(extent) + " in parts of " +
                          std::to_string(divisor));
    return extent / divisor;
  }
  void require_balance(const Balance& balance, const std::vector<Index>& alive) const {
    std::vector<Index> left(to_size(balance.runs));
    for (const Index origin : alive)
      if (const Index run = balance.run_of[to_size(origin)]; run != no_channel)
        ++left[to_size(run)];
    const Index most = *std::max_element(left.begin(), left.end());
    for (const Index count : left)
      if (count != 0 && count != most)
        throw ArgumentError("runs of " + to_string(axes_[balance.axis].name) +
                            " would no longer be equal: " + std::to_string(count) + " and " +
                            std::to_string(most) + " are left");
  }
  void find_runs(ChannelGroup& group) const;

  std::vector<Axis> axes_;
  std::map<std::string, std::pair<std::size_t, std::size_t>> tensors_;  ///< ranges of axes_
  std::vector<Index> parent_, next_, part_of_, part_sizes_;
  std::vector<Index> size_;  ///< of trees, true of their roots
  std::vector<std::size_t> axis_of_;
  std::vector<char> fixed_;  ///< true of roots of trees
  std::vector<Balance> balances_;
  std::vector<StructureAttribute> attributes_;
  std::vector<StructureEdit> edits_;
};

inline Index DependencyGraph::parameters() const {
  Index sum = 0;
  for (const auto& [name, range] : tensors_) {
    Index count = axes_[range.first].stored ? 1 : 0;
    for (std::size_t a = range.first; a < range.second; ++a) count *= extent_of(a);
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
    const auto [first, last] = axes_of(member.axis.tensor);
    for (std::size_t a = first; a < last; ++a) {
      const ChannelGroup::Member* const cut = group.find(axes_[a].name);
      all *= extent_of(a);
      rest *= extent_of(a) - (cut ? cut->per_channel : 0);
    }
  }
  Index sum = 0;
  for (const auto& [tensor, count] : whole) sum += count - left[tensor];
  return sum;
}

inline std::vector<ChannelGroup> DependencyGraph::groups() const {
  // Channels in the order of their lowest element, each with how often it has an index of an axis.
  using Signature = std::vector<std::pair<std::size_t, Index>>;
  struct Channel {
    Index lowest;
    Signature signature;
  };
  std::vector<Channel> channels;
  std::vector<Index> channel_of(parent_.size(), no_channel), index_of(parent_.size());
  for (std::size_t a = 0; a < axes_.size(); ++a)
    for (std::size_t i = 0; i < axes_[a].alive.size(); ++i) {
      const Index e = element(a, axes_[a].alive[i]);
      index_of[to_size(e)] = static_cast<Index>(i);
      if (!is_coupled(e)) continue;
      Index& channel = channel_of[to_size(root_of(e))];
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
        made.members.push_back({axes_[a].name, axes_[a].stored, count, {}});
      made.root_extent = axes_[channel.signature.front().first].extent;
    }
    ChannelGroup& group = groups[found->second];
    if (fixed_[to_size(root_of(channel.lowest))]) group.fixed.push_back(group.channels());
    group.origins.push_back(channel.lowest - axes_[channel.signature.front().first].first_element);
    std::vector<Index> elements{channel.lowest};
    for (Index e = next_[to_size(channel.lowest)]; e != channel.lowest; e = next_[to_size(e)])
      elements.push_back(e);
    std::sort(elements.begin(), elements.end());
    std::size_t k = 0;
    for (ChannelGroup::Member& member : group.members)
      for (Index n = 0; n < member.per_channel; ++n)
        member.indices.push_back(index_of[to_size(elements[k++])]);
  }
  for (ChannelGroup& group : groups) find_runs(group);
  return groups;
}

inline ChannelGroup DependencyGraph::group_of(const AxisName& name, Index index) const {
  const std::size_t a = find_axis(name);
  require_index(index, extent_of(a), to_string(name));
  for (ChannelGroup& group : groups())
    if (const ChannelGroup::Member* const member = group.find(axes_[a].name))
      if (std::find(member->indices.begin(), member->indices.end(), index) != member->indices.end())
        return std::move(group);
  throw ArgumentError("nothing is coupled to index " + std::to_string(index) + " of " +
                      to_string(name));
}

/// Runs matter to a group when each of its channels is within one, and one has several.
inline void DependencyGraph::find_runs(ChannelGroup& group) const {
  for (const Balance& balance : balances_) {
    const ChannelGroup::Member* const member = group.find(axes_[balance.axis].name);
    if (!member) continue;
    std::vector<Index> runs;
    for (Index c = 0; c < group.channels(); ++c) {
      std::set<Index> of_channel;
      for (const Index i : member->of(c))
        of_channel.insert(balance.run_of[to_size(axes_[balance.axis].alive[to_size(i)])]);
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

inline std::vector<AxisCut> DependencyGraph::apply(const StructureEdit& edit) {
  const std::size_t root_axis = find_axis(edit.root);
  const Axis& root = axes_[root_axis];
  if (edit.extent != root.extent)
    throw ShapeError("an edit of " + to_string(edit.root) + " of " + std::to_string(edit.extent) +
                     " does not fit a graph where it has " + std::to_string(root.extent));
  std::map<std::size_t, std::vector<Index>> removed;  // by axis, as they were added
  std::set<Index> seen;
  for (const Index origin : edit.indices) {
    const std::string where = "index " + std::to_string(origin) + " of " + to_string(edit.root);
    require_index(origin, root.extent, to_string(edit.root));
    if (!std::binary_search(root.alive.begin(), root.alive.end(), origin))
      throw ArgumentError(where + " was removed before");
    const Index first = element(root_axis, origin);
    if (!is_coupled(first)) throw ArgumentError("nothing is coupled to " + where);
    if (fixed_[to_size(root_of(first))]) throw ArgumentError(where + " is to be kept");
    if (!seen.insert(root_of(first)).second) continue;
    Index e = first;
    do {
      const std::size_t a = axis_of_[to_size(e)];
      removed[a].push_back(e - axes_[a].first_element);
      e = next_[to_size(e)];
    } while (e != first);
  }
  Pending left;
  for (auto& [a, origins] : removed) {
    std::sort(origins.begin(), origins.end());
    std::vector<Index>& alive = left[a];
    std::set_difference(axes_[a].alive.begin(), axes_[a].alive.end(), origins.begin(),
                        origins.end(), std::back_inserter(alive));
    if (alive.empty()) throw ArgumentError("nothing would be left of " + to_string(axes_[a].name));
  }
  for (const StructureAttribute& attribute : attributes_) (void)value_of(attribute, left);
  for (const Balance& balance : balances_)
    if (left.contains(balance.axis)) require_balance(balance, left[balance.axis]);

  std::vector<AxisCut> cuts;
  for (const auto& [a, alive] : left) {
    AxisCut& cut = cuts.emplace_back(AxisCut{axes_[a].name, axes_[a].stored, {}});
    std::size_t k = 0;
    for (std::size_t i = 0; i < axes_[a].alive.size() && k < alive.size(); ++i)
      if (axes_[a].alive[i] == alive[k]) {
        cut.kept.push_back(static_cast<Index>(i));
        ++k;
      }
  }
  edits_.push_back({root.name, edit.extent, edit.indices});
  for (auto& [a, alive] : left) axes_[a].alive = std::move(alive);
  return cuts;
}

}  // namespace pare
