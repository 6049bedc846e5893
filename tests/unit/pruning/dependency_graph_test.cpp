#include "pare/pruning/structure/dependency_graph.hpp"

#include <cstdint>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/core/random.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

using Indices = std::vector<Index>;

/// Two linear layers, the second of which reads the first, and their biases.
DependencyGraph two_layers() {
  DependencyGraph graph;
  graph.add_tensor("up", {6, 3}, {"out", "in"});
  graph.add_vector("up.bias", 6);
  graph.add_tensor("down", {2, 6}, {"out", "in"});
  graph.couple({"up", "out"}, {"up.bias"});
  graph.couple({"up", "out"}, {"down", "in"});
  return graph;
}

/// Axes 0, 1, ... of random extents and couplings that fit them.
struct RandomGraph {
  struct Edge {
    std::size_t from, to;
    Coupling coupling;
  };
  std::vector<Index> extents;
  std::vector<Edge> edges;

  explicit RandomGraph(std::uint64_t seed) {
    Random random(seed);
    const auto below = [&](Index n) {
      return static_cast<Index>(random.below(static_cast<std::uint32_t>(n)));
    };
    extents.push_back(2 + below(4));
    while (extents.size() < 14) {
      // Each axis but some is made from one before, whose coupling then fits.
      const std::size_t from = static_cast<std::size_t>(below(static_cast<Index>(extents.size())));
      const Index n = extents[from], times = 2 + below(2);
      const std::size_t to = extents.size();
      switch (below(7)) {
        case 0:
          extents.push_back(2 + below(4));
          break;
        case 1:
          add(n, {from, to, SameChannels{}});
          break;
        case 2:
          add(n * times, {from, to, Flattened{times}});
          break;
        case 3:
          add(n * times, {from, to, Repeated{}});
          break;
        case 4:
          add(n * times, {from, to, ExpandedHeads{times, n % 2 == 0 ? 2 : 1}});
          break;
        case 5:
          add(n + times, {from, to, Concatenated{times}});
          if (below(2) != 0) edges.push_back({from, to, Concatenated{times}});
          break;
        default:
          add(3 * n, {from, to, FusedPart{.first = 1, .length = 1, .runs = n, .step = 3}});
          edges.push_back({from, to, FusedPart{.first = 0, .length = 1, .runs = n, .step = 3}});
      }
      if (extents.back() > 60) extents.pop_back(), drop_edges(to);
    }
  }
  void add(Index extent, Edge edge) {
    extents.push_back(extent);
    edges.push_back(edge);
  }
  void drop_edges(std::size_t to) {
    while (!edges.empty() && edges.back().to == to) edges.pop_back();
  }

  static AxisName axis(std::size_t a) { return {"a" + std::to_string(a)}; }
  DependencyGraph graph(const std::vector<std::size_t>& order) const {
    DependencyGraph graph;
    for (std::size_t a = 0; a < extents.size(); ++a) graph.add_vector(axis(a).tensor, extents[a]);
    for (const std::size_t e : order)
      graph.couple(axis(edges[e].from), axis(edges[e].to), edges[e].coupling);
    return graph;
  }
  std::vector<std::size_t> order() const {
    std::vector<std::size_t> order(edges.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    return order;
  }
};

/// Sets of (axis, index) that go together, by labels that spread along couplings until none
/// changes.
std::set<std::set<std::pair<std::string, Index>>> closures(const RandomGraph& random) {
  std::map<std::pair<std::size_t, Index>, Index> label;
  for (std::size_t a = 0; a < random.extents.size(); ++a)
    for (Index i = 0; i < random.extents[a]; ++i) label[{a, i}] = static_cast<Index>(label.size());
  for (bool changed = true; changed;) {
    changed = false;
    for (const RandomGraph::Edge& edge : random.edges)
      for (Index j = 0; j < random.extents[edge.to]; ++j) {
        const Index i = std::visit(
            [&](const auto& kind) { return kind.belongs_to(j, random.extents[edge.from]); },
            edge.coupling);
        if (i == no_channel) continue;
        Index &a = label[{edge.from, i}], &b = label[{edge.to, j}];
        if (a == b) continue;
        a = b = std::min(a, b);
        changed = true;
      }
  }
  std::map<Index, std::set<std::pair<std::string, Index>>> sets;
  for (const auto& [element, l] : label)
    sets[l].insert({RandomGraph::axis(element.first).tensor, element.second});
  std::set<std::set<std::pair<std::string, Index>>> result;
  for (const auto& [l, set] : sets)
    if (set.size() > 1) result.insert(set);
  return result;
}

}  // namespace

TEST_CASE("couplings say which indices go together") {
  struct Case {
    Coupling coupling;
    Index from, to;
    Indices belongs_to;
  };
  const Index none = no_channel;
  const std::vector<Case> cases{
      {SameChannels{}, 3, 3, {0, 1, 2}},
      {Concatenated{2}, 3, 6, {none, none, 0, 1, 2, none}},
      {Flattened{2}, 3, 6, {0, 0, 1, 1, 2, 2}},
      {Repeated{}, 3, 6, {0, 1, 2, 0, 1, 2}},
      {ExpandedHeads{.times = 2, .head_dim = 2}, 4, 8, {0, 1, 0, 1, 2, 3, 2, 3}},
      {FusedPart{.first = 1, .length = 3}, 3, 5, {none, 0, 1, 2, none}},
      {FusedPart{.first = 1, .length = 2, .runs = 2, .step = 3},
       4,
       7,
       {none, 0, 1, none, 2, 3, none}},
      {FusedPart{.first = 0, .length = 2, .runs = 2, .step = 2}, 4, 4, {0, 1, 2, 3}},
  };
  for (const Case& c : cases)
    std::visit(
        [&](const auto& kind) {
          CAPTURE(kind.name);
          CHECK(kind.fits(c.from, c.to));
          Indices found;
          for (Index j = 0; j < c.to; ++j) found.push_back(kind.belongs_to(j, c.from));
          CHECK(found == c.belongs_to);
        },
        c.coupling);
}

TEST_CASE("couplings that do not fit are refused") {
  struct Case {
    Coupling coupling;
    Index from, to;
  };
  const Index huge = Index{1} << 62;
  const std::vector<Case> cases{
      {SameChannels{}, 3, 4},
      {Concatenated{-1}, 3, 6},
      {Concatenated{4}, 3, 6},
      {Concatenated{0}, 7, 6},
      {Concatenated{huge}, 3, 6},
      {Flattened{0}, 3, 6},
      {Flattened{-2}, 3, 6},
      {Flattened{3}, 3, 6},
      {Flattened{2}, 3, 7},
      {Repeated{}, 4, 6},
      {Repeated{}, 7, 6},
      {ExpandedHeads{.times = 2, .head_dim = 3}, 4, 8},
      {ExpandedHeads{.times = 0, .head_dim = 2}, 4, 8},
      {ExpandedHeads{.times = 2, .head_dim = 2}, 4, 12},
      {FusedPart{.first = 0, .length = 2}, 3, 6},
      {FusedPart{.first = 4, .length = 3}, 3, 6},
      {FusedPart{.first = -1, .length = 3}, 3, 6},
      {FusedPart{.first = 0, .length = 2, .runs = 2, .step = 1}, 4, 6},
      {FusedPart{.first = 0, .length = 2, .runs = 2, .step = 5}, 4, 6},
      {FusedPart{.first = 0, .length = 2, .runs = 2, .step = huge}, 4, 6},
      {FusedPart{.first = 0, .length = huge, .runs = 4, .step = huge}, 4, 6},
  };
  for (const Case& c : cases) {
    DependencyGraph graph;
    graph.add_channels("from", c.from);
    graph.add_tensor("to", {2, c.to}, {"out", "in"});
    CAPTURE(c.coupling.index(), c.from, c.to);
    CHECK_THROWS_AS(graph.couple({"from"}, {"to", "in"}, c.coupling), ShapeError);
    CHECK(graph.groups().empty());
  }
  CHECK_THROWS_WITH(
      [] {
        DependencyGraph graph;
        graph.add_channels("a", 10);
        graph.add_tensor("b", {3, 12}, {"out", "in"});
        graph.couple({"a"}, {"b", "in"});
      }(),
      "a of 10 cannot be the same channels in b[in] of 12");
}

TEST_CASE("parts of an axis are apart or the same") {
  const auto with = [](const Coupling& first, const Coupling& second) {
    DependencyGraph graph;
    graph.add_channels("a", 4);
    graph.add_channels("b", 4);
    graph.add_channels("c", 8);
    graph.couple({"a"}, {"c"}, first);
    graph.couple({"b"}, {"c"}, second);
    return graph.groups().size();
  };
  CHECK(with(Concatenated{0}, Concatenated{4}) == 2);
  CHECK(with(Concatenated{4}, Concatenated{4}) == 1);  // a sum that is concatenated with others
  CHECK(with(FusedPart{0, 2, 2, 4}, FusedPart{2, 2, 2, 4}) == 2);
  CHECK_THROWS_AS(with(Concatenated{0}, Concatenated{3}), ShapeError);
  CHECK_THROWS_AS(with(Concatenated{0}, FusedPart{0, 2, 2, 4}), ShapeError);
  CHECK_THROWS_WITH(with(Concatenated{2}, Concatenated{0}),
                    ContainsSubstring("it overlaps another part"));
}

TEST_CASE("names and shapes of a graph are checked") {
  DependencyGraph graph = two_layers();
  CHECK_THROWS_AS(graph.add_vector("up", 3), ArgumentError);
  CHECK_THROWS_AS(graph.add_vector("none", 0), ShapeError);
  CHECK_THROWS_AS(graph.add_tensor("a", {2, 3}, {"out"}), ShapeError);
  CHECK_THROWS_AS(graph.add_tensor("a", {}, {}), ShapeError);
  CHECK_THROWS_AS(graph.add_tensor("a", {1, 1, 1, 1, 1}, {"a", "b", "c", "d", "e"}), ShapeError);
  CHECK_THROWS_AS(graph.add_tensor("a", {2, 3}, {"out", "out"}), ArgumentError);
  CHECK_THROWS_AS(graph.add_tensor("a", {2, -3}, {"out", "in"}), ShapeError);
  CHECK_THROWS_WITH(graph.couple({"up", "out"}, {"side", "in"}), "the graph has no tensor side");
  CHECK_THROWS_WITH(graph.couple({"up", "side"}, {"down", "in"}), "up has no axis 'side'");
  CHECK_THROWS_AS(graph.couple({"up"}, {"down", "in"}), ArgumentError);  // it has two axes
  CHECK_THROWS_AS(graph.couple({"up", "out"}, {"up", "out"}), ShapeError);
  CHECK_THROWS_AS(graph.keep({"up", "side"}), ArgumentError);
  CHECK_THROWS_AS(graph.keep({"up", "out"}, Indices{6}), ArgumentError);
  CHECK_THROWS_AS(graph.group_of({"up", "in"}), ArgumentError);
  CHECK_THROWS_AS(graph.balance({"up", "out"}, 4), ShapeError);
  CHECK_THROWS_AS(graph.balance({"up", "out"}, 0), ShapeError);
  CHECK_THROWS_AS(graph.attribute("heads"), ArgumentError);
  CHECK(graph.groups() == two_layers().groups());
}

TEST_CASE("groups hold what goes together, in the order of their axes") {
  const std::vector<ChannelGroup> groups = two_layers().groups();
  REQUIRE(groups.size() == 1);
  const ChannelGroup& group = groups.front();
  CHECK(group.root() == AxisName{"up", "out"});
  CHECK(group.channels() == 6);
  REQUIRE(group.members.size() == 3);
  CHECK(group.find({"down", "in"})->of(4).front() == 4);
  CHECK(group.find({"down", "out"}) == nullptr);
  CHECK(group.fixed.empty());

  // Rows of three heads, of which each goes with one index of `heads`.
  DependencyGraph graph;
  graph.add_tensor("q", {6, 2}, {"out", "in"});
  graph.add_channels("heads", 3);
  graph.couple({"heads"}, {"q", "out"}, Flattened{2});
  const ChannelGroup heads = graph.group_of({"heads"}, 1);
  CHECK(heads.origins == Indices{0, 2, 4});
  CHECK(heads.members[0].per_channel == 2);
  CHECK(heads.members[0].indices == Indices{0, 1, 2, 3, 4, 5});
  CHECK_FALSE(heads.members[1].stored);
  CHECK(graph.parameters() == 12);
  CHECK(graph.parameters_per_channel(heads) == 4);

  // One axis on which two vectors lie: channels that differ are in groups of their own.
  DependencyGraph parts;
  parts.add_channels("all", 5);
  parts.add_vector("first", 2);
  parts.add_vector("rest", 2);
  parts.couple({"first"}, {"all"}, Concatenated{0});
  parts.couple({"rest"}, {"all"}, Concatenated{2});
  REQUIRE(parts.groups().size() == 2);
  CHECK(parts.groups()[1].origins == Indices{2, 3});  // nothing is coupled to the last
  CHECK(parts.group_of({"rest"}).root() == AxisName{"all"});
}

TEST_CASE("groups are a partition of coupled indices, whatever the order of couplings") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const RandomGraph random(seed);
    CAPTURE(seed);
    std::vector<std::size_t> order = random.order();
    const std::vector<ChannelGroup> groups = random.graph(order).groups();

    std::set<std::pair<std::string, Index>> seen;
    std::set<std::set<std::pair<std::string, Index>>> channels;
    for (const ChannelGroup& group : groups)
      for (Index c = 0; c < group.channels(); ++c) {
        std::set<std::pair<std::string, Index>> channel;
        for (const ChannelGroup::Member& member : group.members)
          for (const Index i : member.of(c)) {
            CHECK(seen.insert({member.axis.tensor, i}).second);
            channel.insert({member.axis.tensor, i});
          }
        channels.insert(channel);
      }
    CHECK(channels == closures(random));

    Random shuffle(seed);
    for (int repeat = 0; repeat < 3; ++repeat) {
      for (std::size_t i = order.size(); i > 1; --i)
        std::swap(order[i - 1], order[shuffle.below(static_cast<std::uint32_t>(i))]);
      CHECK(random.graph(order).groups() == groups);
    }
  }
}

TEST_CASE("removals are recorded, compose and can be replayed") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const RandomGraph random(seed);
    CAPTURE(seed);
    const DependencyGraph dense = random.graph(random.order());
    DependencyGraph graph = dense;
    std::map<std::string, Indices> kept;  // by what each removal says
    for (std::size_t a = 0; a < random.extents.size(); ++a) {
      Indices& all = kept[RandomGraph::axis(a).tensor];
      all.resize(static_cast<std::size_t>(random.extents[a]));
      std::iota(all.begin(), all.end(), Index{0});
    }
    Random choice(seed);
    for (int round = 0; round < 2; ++round)
      for (const ChannelGroup& group : graph.groups()) {
        Indices channels;
        for (Index c = 1; c < group.channels(); ++c)
          if (choice.below(3) == 0) channels.push_back(c);
        std::map<AxisName, Index> before;
        for (const ChannelGroup::Member& m : group.members) before[m.axis] = graph.extent(m.axis);
        for (const AxisCut& cut : graph.remove(group, channels)) {
          Indices next;
          for (const Index i : cut.kept)
            next.push_back(kept[cut.axis.tensor][static_cast<std::size_t>(i)]);
          kept[cut.axis.tensor] = next;
        }
        for (const ChannelGroup::Member& m : group.members)
          CHECK(graph.extent(m.axis) ==
                before[m.axis] - static_cast<Index>(channels.size()) * m.per_channel);
      }
    std::vector<StructureEdit> edits = graph.edits();
    DependencyGraph replayed = dense, reversed = dense;
    replayed.replay(edits);
    std::reverse(edits.begin(), edits.end());
    reversed.replay(edits);
    for (const auto& [name, indices] : kept) {
      CHECK(graph.kept({name}) == indices);
      CHECK(replayed.kept({name}) == indices);
      CHECK(reversed.kept({name}) == indices);
    }
    CHECK(replayed.groups() == graph.groups());
  }
}

TEST_CASE("a removal that is refused changes nothing") {
  DependencyGraph graph = two_layers();
  graph.declare({.name = "intermediate", .axis = {"down", "in"}});
  graph.declare({.name = "pairs", .axis = {"up", "out"}, .divisor = 2});
  CHECK(graph.attribute("pairs") == 3);
  CHECK_THROWS_AS(graph.declare({.name = "pairs", .axis = {"up", "out"}}), ArgumentError);
  CHECK_THROWS_AS(graph.declare({.name = "a", .axis = {"up", "out"}, .divisor = 4}), ArgumentError);
  CHECK_THROWS_AS(graph.declare({.name = "a", .axis = {"up", "out"}, .divisor = 0}), ArgumentError);
  graph.keep({"down", "in"}, Indices{5});
  const ChannelGroup group = graph.group_of({"up", "out"});
  CHECK(group.fixed == Indices{5});
  const auto refused = [&](const Indices& channels, const std::string& message) {
    CHECK_THROWS_WITH(graph.remove(group, channels), message);
    CHECK(graph.extent({"up.bias"}) == 6);
    CHECK(graph.edits().empty());
    CHECK(graph.attribute("pairs") == 3);
  };
  refused({0}, "pairs would not be whole: up[out] of 5 in parts of 2");
  refused({0, 5}, "index 5 of up[out] is to be kept");
  refused({0, 6}, "index 6 is outside the group of up[out] of 6");
  refused({-1}, "index -1 is outside the group of up[out] of 6");

  DependencyGraph all = two_layers();
  CHECK_THROWS_WITH(all.remove(all.groups().front(), Indices{0, 1, 2, 3, 4, 5}),
                    "nothing would be left of up[out]");

  graph.remove(group, Indices{3, 1, 3});
  CHECK(graph.kept({"down", "in"}) == Indices{0, 2, 4, 5});
  CHECK(graph.attribute("intermediate") == 4);
  CHECK(graph.attribute("pairs") == 2);
  CHECK(graph.shape("down") == std::vector<Index>{2, 4});
  CHECK(graph.parameters() == 4 * 3 + 4 + 4 * 2);
  CHECK_THROWS_WITH(graph.remove(group, Indices{0, 1}), "index 1 of up[out] was removed before");
  CHECK_THROWS_AS(graph.couple({"up", "out"}, {"down", "in"}), ArgumentError);

  DependencyGraph other = two_layers();
  CHECK_THROWS_WITH(other.apply({{"up", "out"}, 7, {0}}),
                    "an edit of up[out] of 7 does not fit a graph where it has 6");
  CHECK_THROWS_WITH(other.apply({{"down", "out"}, 2, {0}}),
                    "nothing is coupled to index 0 of down[out]");
  CHECK_THROWS_AS(other.apply({{"up", "out"}, 6, {6}}), ArgumentError);
  CHECK_THROWS_AS(other.apply({{"side", "out"}, 6, {0}}), ArgumentError);
  const std::vector<StructureEdit> second_fails{{{"up", "out"}, 6, {0}}, {{"up", "out"}, 6, {0}}};
  CHECK_THROWS_AS(other.replay(second_fails), ArgumentError);
  CHECK(other.extent({"up", "out"}) == 6);
}

TEST_CASE("channels are kept whether that is said before or after they are coupled") {
  for (const bool before : {false, true})
    for (const char* name : {"a", "b"}) {
      DependencyGraph graph;
      graph.add_vector("a", 3);
      graph.add_vector("b", 3);
      graph.add_vector("c", 3);
      if (before) graph.keep({name}, Indices{1});
      graph.couple({"b"}, {"c"});
      graph.couple({"a"}, {"c"});
      if (!before) graph.keep({name}, Indices{1});
      CAPTURE(before, name);
      CHECK(graph.groups().front().fixed == Indices{1});
      CHECK_THROWS_AS(graph.remove(graph.groups().front(), Indices{1}), ArgumentError);
    }
}

TEST_CASE("groups that were found before may be removed one after another") {
  DependencyGraph graph;
  graph.add_tensor("a", {4, 2}, {"out", "in"});
  graph.add_tensor("b", {3, 2}, {"out", "in"});
  graph.add_tensor("head", {2, 7}, {"out", "in"});
  graph.couple({"a", "out"}, {"head", "in"}, Concatenated{0});
  graph.couple({"b", "out"}, {"head", "in"}, Concatenated{4});
  const ChannelGroup a = graph.group_of({"a", "out"}), b = graph.group_of({"b", "out"});
  graph.remove(a, Indices{0, 3});
  const std::vector<AxisCut> cuts = graph.remove(b, Indices{1});
  CHECK(graph.kept({"head", "in"}) == Indices{1, 2, 4, 6});
  REQUIRE(cuts.size() == 2);
  CHECK(cuts[1].axis == AxisName{"head", "in"});
  CHECK(cuts[1].kept == Indices{0, 1, 2, 4});  // of the five that there were
  CHECK(graph.group_of({"head", "in"}, 3).root() == AxisName{"b", "out"});

  const Matrix<float> w = test::random_matrix(2, 7);
  const Matrix<float> left = graph.slice("head", w);
  REQUIRE(left.shape() == Shape<2>{2, 4});
  CHECK(left(1, 2) == w(1, 4));
  CHECK(graph.slice("head", w, {.parallel_for = OpenMpFor()}) == left);
  CHECK_THROWS_AS(graph.slice("head", left), ShapeError);
  CHECK_THROWS_AS(graph.slice("head", Vector<float>({7})), ShapeError);
  CHECK_THROWS_AS(graph.slice("side", w), ArgumentError);
}

TEST_CASE("balanced axes lose as much of each run") {
  DependencyGraph graph;
  graph.add_channels("heads", 6);
  graph.add_tensor("q", {12, 2}, {"out", "in"});
  graph.couple({"heads"}, {"q", "out"}, Flattened{2});
  graph.balance({"q", "out"}, 2);
  const ChannelGroup group = graph.groups().front();
  CHECK(group.run_of == Indices{0, 0, 0, 1, 1, 1});
  CHECK_THROWS_WITH(graph.remove(group, Indices{0}),
                    "runs of q[out] would no longer be equal: 4 and 6 are left");
  graph.remove(group, Indices{1, 5});
  CHECK(graph.extent({"heads"}) == 4);
  CHECK(graph.groups().front().run_of == Indices{0, 0, 1, 1});
  graph.remove(graph.groups().front(), Indices{2, 3});  // a whole run
  CHECK(graph.kept({"heads"}) == Indices{0, 2});
}

TEST_CASE("take keeps the elements that are listed along every axis") {
  Tensor<std::int16_t, 4> source({3, 2, 4, 3});
  std::iota(source.begin(), source.end(), std::int16_t{0});
  const Indices a{2, 0}, b{1}, c{0, 1, 3}, d{2, 1};
  const auto taken = take(source, {a, b, c, d});
  REQUIRE(taken.shape() == Shape<4>{2, 1, 3, 2});
  for (Index i = 0; i < 2; ++i)
    for (Index k = 0; k < 3; ++k)
      for (Index l = 0; l < 2; ++l)
        CHECK(taken(i, 0, k, l) == source(a[static_cast<std::size_t>(i)], 1,
                                          c[static_cast<std::size_t>(k)],
                                          d[static_cast<std::size_t>(l)]));
  CHECK(take(source, {a, b, c, d}, {.parallel_for = OpenMpFor()}) == taken);

  const Matrix<float> w = test::random_matrix(4, 5);
  const test::Strided<float> strided(w.view());
  CHECK(take(strided.view(), {a, c}) == take(w, {a, c}));
  CHECK(take(w.view().transposed(), {c, a})(2, 0) == w(2, 3));
  const Vector<float> v(w.row(1));
  CHECK(take(v, {c})[2] == w(1, 3));
  CHECK(take(w, {Indices{}, c}).empty());
  CHECK_THROWS_WITH(take(w, {a, Indices{0, 5}}), "index 5 is outside axis 1 of shape [4, 5]");
  CHECK_THROWS_AS(take(w, {Indices{-1}, a}), ShapeError);
}
