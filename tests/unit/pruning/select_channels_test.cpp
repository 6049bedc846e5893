#include "pare/pruning/structure/select_channels.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "pare/core/random.hpp"
#include "pare/pruning/structure/dependency_graph.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

using Indices = std::vector<Index>;
using Scores = std::vector<double>;
using Count = ChannelSelection::Count;
using Multiple = ChannelSelection::Multiple;

/// A group of n channels, some of which are fixed, in runs.
ChannelGroup group_of_channels(Index n, const Indices& fixed = {}, Index runs = 1) {
  DependencyGraph graph;
  graph.add_vector("a", n);
  graph.add_vector("b", n);
  graph.couple({"a"}, {"b"});
  graph.keep({"b"}, fixed);
  graph.balance({"a"}, runs);
  return graph.groups().front();
}

Scores ascending(Index n) {
  Scores scores(static_cast<std::size_t>(n));
  std::iota(scores.begin(), scores.end(), 1.0);
  return scores;
}

Index count_of_removed(Index n, const ChannelSelection& selection, const Indices& fixed = {}) {
  return static_cast<Index>(
      select_channels(group_of_channels(n, fixed), ascending(n), selection).size());
}

}  // namespace

TEST_CASE("as many channels are removed as the rounding says") {
  struct Case {
    Index n;
    double ratio;
    Index half_even, down, up;
  };
  // Of the table in which implementations differ.
  for (const Case& c : {Case{10, 0.25, 2, 2, 3},
                        {5, 0.5, 2, 2, 3},
                        {7, 0.5, 4, 3, 4},
                        {17, 0.4, 7, 6, 7},
                        {100, 0.29, 29, 28, 29},
                        {1000, 0.1, 100, 100, 100},
                        {10, 0.0, 0, 0, 0}}) {
    CAPTURE(c.n, c.ratio);
    CHECK(count_of_removed(c.n, {.ratio = c.ratio}) == c.half_even);
    CHECK(count_of_removed(c.n, {.ratio = c.ratio, .count = Count::down}) == c.down);
    CHECK(count_of_removed(c.n, {.ratio = c.ratio, .count = Count::up}) == c.up);
  }
  CHECK(count_of_removed(10, {.ratio = 1.0}) == 9);  // never all
  CHECK(count_of_removed(1, {.ratio = 1.0}) == 0);
  CHECK(count_of_removed(10, {.ratio = 0.9, .largest_ratio = 0.3}) == 3);
  CHECK(count_of_removed(10, {.ratio = 1.0}, {2, 5, 7}) == 7);
}

TEST_CASE("what is left is a multiple") {
  struct Case {
    Index n;
    double ratio;
    Index multiple;
    Index left_up, left_down;
  };
  for (const Case& c : {Case{64, 0.5, 8, 32, 32},
                        {64, 0.45, 8, 40, 32},
                        {64, 0.9, 8, 8, 8},
                        {64, 0.99, 16, 16, 16},
                        {100, 0.3, 32, 96, 64},
                        {100, 0.01, 32, 100, 96},
                        {20, 0.5, 64, 20, 20},
                        {128, 0.5, 1, 64, 64}}) {
    CAPTURE(c.n, c.ratio, c.multiple);
    CHECK(c.n - count_of_removed(c.n, {.ratio = c.ratio, .multiple = c.multiple}) == c.left_up);
    CHECK(c.n - count_of_removed(
                    c.n, {.ratio = c.ratio, .multiple = c.multiple, .rounding = Multiple::down}) ==
          c.left_down);
  }
  // Fixed channels are left, and still a multiple.
  CHECK(count_of_removed(16, {.ratio = 0.9, .multiple = 4}, {0, 1, 2, 3, 4}) == 8);
}

TEST_CASE("the lowest scores are removed, of equal ones the first") {
  CHECK(select_channels(group_of_channels(6), Scores{3, 1, 2, 1, 1, 9}, {.ratio = 0.5}) ==
        Indices{1, 3, 4});
  CHECK(select_channels(group_of_channels(6), Scores(6, 0.0), {.ratio = 0.5}) == Indices{0, 1, 2});
  Scores two_values(80, 1.0);
  std::fill_n(two_values.begin(), 10, 2.0);
  Indices expected(40);
  std::iota(expected.begin(), expected.end(), Index{10});
  CHECK(select_channels(group_of_channels(80), two_values, {.ratio = 0.5}) == expected);
  CHECK(select_channels(group_of_channels(6, {0, 2}), Scores(6, 0.0), {.ratio = 0.5}) ==
        Indices{1, 3, 4});
  // Runs: as many of each, though all low scores are in the first.
  CHECK(select_channels(group_of_channels(8, {}, 2), ascending(8), {.ratio = 0.5}) ==
        Indices{0, 1, 4, 5});
  CHECK(select_channels(group_of_channels(8, {0, 1, 2}, 2), ascending(8), {.ratio = 0.9}) ==
        Indices{3, 4});
  CHECK(select_channels(group_of_channels(8, {}, 2), ascending(8), {.ratio = 0.3}) ==
        Indices{0, 4});
  CHECK(select_channels(group_of_channels(12, {}, 2), ascending(12),
                        {.ratio = 0.5, .multiple = 4}) == Indices{0, 1, 6, 7});
}

TEST_CASE("groups compete when they are selected together") {
  const std::vector<ChannelGroup> groups{group_of_channels(4), group_of_channels(6, {0})};
  const std::vector<Scores> scores{{1, 2, 8, 9}, {0, 3, 4, 5, 6, 7}};
  CHECK(select_channels_jointly(groups, scores, {.ratio = 0.5}) ==
        std::vector<Indices>{{0, 1}, {1, 2, 3}});
  CHECK(select_channels_jointly(groups, scores, {.ratio = 1.0}) ==
        std::vector<Indices>{{0, 1, 2}, {1, 2, 3, 4, 5}});
  CHECK(select_channels_jointly(groups, scores, {.ratio = 0.5, .largest_ratio = 0.25}) ==
        std::vector<Indices>{{0}, {1}});
  CHECK(select_channels_jointly(groups, scores, {.ratio = 0.2, .largest_ratio = 0.25}) ==
        std::vector<Indices>{{0}, {1}});
  CHECK(select_channels_jointly(groups, scores, {.ratio = 0.0}) == std::vector<Indices>{{}, {}});
  CHECK(select_channels_jointly(groups, scores, {.ratio = 0.5, .multiple = 4}) ==
        std::vector<Indices>{{}, {1, 2}});
  // With costs: 44 in all, 22 to go, the fixed channel stays.
  CHECK(select_channels_jointly(groups, scores, {.ratio = 0.5}, Scores{5, 4}) ==
        std::vector<Indices>{{0, 1}, {1, 2, 3}});
  CHECK(select_channels_jointly(groups, scores, {.ratio = 0.5}, Scores{8, 2}) ==
        std::vector<Indices>{{0, 1}, {1, 2, 3}});
  CHECK(select_channels_jointly({}, {}, {.ratio = 0.5}).empty());

  // One group: the same as alone.
  Random random(3);
  for (Index n = 1; n < 40; ++n) {
    Scores s;
    for (Index c = 0; c < n; ++c) s.push_back(static_cast<double>(random.below(6)));
    const std::vector<ChannelGroup> one{group_of_channels(n)};
    for (const double ratio : {0.1, 0.5, 0.75, 1.0})
      for (const Index multiple : {1, 4}) {
        const ChannelSelection selection{.ratio = ratio, .multiple = multiple};
        CHECK(select_channels_jointly(one, std::vector<Scores>{s}, selection).front() ==
              select_channels(one.front(), s, selection));
      }
  }
}

TEST_CASE("options and scores out of range are refused") {
  const ChannelGroup group = group_of_channels(4);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Scores scores = ascending(4);
  for (const ChannelSelection& bad :
       {ChannelSelection{.ratio = -0.1}, ChannelSelection{.ratio = 1.1},
        ChannelSelection{.ratio = nan}, ChannelSelection{.multiple = 0},
        ChannelSelection{.largest_ratio = 1.5}}) {
    CHECK_THROWS_AS(select_channels(group, scores, bad), ArgumentError);
    CHECK_THROWS_AS(select_channels_jointly({}, {}, bad), ArgumentError);
  }
  CHECK_THROWS_WITH(select_channels(group, ascending(3)),
                    "3 scores do not fit the 4 channels of a");
  CHECK_THROWS_AS(select_channels(group, Scores{1, 2, nan, 4}), NumericError);
  const std::vector<ChannelGroup> groups{group};
  CHECK_THROWS_AS(select_channels_jointly(groups, {}), ShapeError);
  CHECK_THROWS_AS(select_channels_jointly(groups, std::vector<Scores>{scores}, {}, Scores{0.0}),
                  ArgumentError);
  CHECK_THROWS_AS(select_channels_jointly(groups, std::vector<Scores>{scores}, {}, Scores{1, 2}),
                  ShapeError);
}
