#include "pare/pruning/structure/flap_selection.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/pruning_oracle.hpp"

using namespace pare;

namespace {

using Indices = std::vector<Index>;

/// A block of a language model: heads and hidden units.
struct Block {
  DependencyGraph graph;
  std::vector<ChannelGroup> groups;

  Block(Index hidden, Index heads, Index head_dim, Index units) {
    graph.add_channels("heads", heads);
    for (const char* const name : {"q", "k", "v"})
      graph.add_tensor(name, {heads * head_dim, hidden}, {"out", "in"});
    graph.add_tensor("o", {hidden, heads * head_dim}, {"out", "in"});
    for (const char* const name : {"gate", "up"})
      graph.add_tensor(name, {units, hidden}, {"out", "in"});
    graph.add_tensor("down", {hidden, units}, {"out", "in"});
    for (const char* const name : {"q", "k", "v"})
      graph.couple({"heads"}, {name, "out"}, Flattened{head_dim});
    graph.couple({"heads"}, {"o", "in"}, Flattened{head_dim});
    graph.couple({"gate", "out"}, {"up", "out"});
    graph.couple({"gate", "out"}, {"down", "in"});
    groups = {graph.group_of({"heads"}), graph.group_of({"gate", "out"})};
  }
};

}  // namespace

TEST_CASE("heads and hidden units compete for the parameters that go with them") {
  // A head has 4 * 2 * 3 = 24 parameters, a unit 3 * 3 = 9: 2 * 24 + 4 * 9 = 84.
  const Block block(3, 2, 2, 4);
  CHECK(block.graph.parameters_per_channel(block.groups[0]) == 24);
  CHECK(block.graph.parameters_per_channel(block.groups[1]) == 9);
  // Standardized: (1 2 3 4 - 2.5) / 1.29, of heads -.775 and .775; (0 0 0 8 - 2) / 4 is -.5, 1.5.
  const std::vector<MemberScores> scores{{{"o", "in"}, {1, 2, 4, 3}},
                                         {{"down", "in"}, {0, 0, 0, 8}}};
  const std::vector<double> heads = standardized_channel_scores(block.groups[0], scores[0]);
  CHECK(heads[0] == Approx(-1.0 / std::sqrt(5.0 / 3.0)));
  CHECK(heads[1] == Approx(1.0 / std::sqrt(5.0 / 3.0)));
  const std::vector<double> units = standardized_channel_scores(block.groups[1], scores[1]);
  CHECK(units == std::vector<double>{-0.5, -0.5, -0.5, 1.5});

  struct Case {
    double ratio;
    Indices heads, units;
  };
  for (const Case& c : {Case{11.0 / 84.0, {}, {}},  // less than half a head
                        {13.0 / 84.0, {0}, {}},
                        {28.0 / 84.0, {0}, {}},
                        {29.0 / 84.0, {0}, {0}},
                        {51.0 / 84.0, {0}, {0, 1, 2}},
                        // Heads and units each keep one.
                        {1.0, {0}, {0, 1, 2}}}) {
    CAPTURE(c.ratio);
    CHECK(select_flap(block.graph, block.groups, scores, {.ratio = c.ratio}) ==
          std::vector<Indices>{c.heads, c.units});
  }
}

TEST_CASE("of the authors' scores those below their threshold go") {
  // The scores of a layer for both, squared for heads of 8 as the authors do.
  constexpr Index head_dim = 8, hidden = 14, size = 64;
  const Block block(hidden, size / head_dim, head_dim, size);
  const std::vector<float> wifv = test::PruningOracle().values<float>("flap.WIFV.scores");
  std::vector<MemberScores> scores{{{"o", "in"}, {}}, {{"down", "in"}, {}}};
  for (const float s : wifv) {
    scores[0].values.push_back(static_cast<double>(s) * static_cast<double>(s));
    scores[1].values.push_back(static_cast<double>(s));
  }
  const auto standardized = [](std::vector<double> values) {
    const double n = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    double squares = 0.0;
    for (const double v : values) squares += (v - mean) * (v - mean);
    for (double& v : values) v = (v - mean) / std::sqrt(squares / (n - 1.0));
    return values;
  };
  struct Item {
    double score, cost;
    Index head, unit;
  };
  std::vector<Item> items;
  const std::vector<double> inputs = standardized(scores[0].values);
  for (Index h = 0; h < size / head_dim; ++h)
    items.push_back(
        {std::accumulate(inputs.begin() + h * head_dim, inputs.begin() + (h + 1) * head_dim, 0.0) /
             static_cast<double>(head_dim),
         static_cast<double>(4 * hidden * head_dim), h, -1});
  const std::vector<double> units = standardized(scores[1].values);
  for (Index u = 0; u < size; ++u)
    items.push_back({units[static_cast<std::size_t>(u)], 3.0 * hidden, -1, u});
  std::sort(items.begin(), items.end(),
            [](const Item& a, const Item& b) { return a.score > b.score; });
  double total = 0.0;
  for (const Item& item : items) total += item.cost;
  for (const double ratio : {0.1, 0.2, 0.3, 0.5}) {
    CAPTURE(ratio);
    // The prefix whose cost is nearest to what is to stay.
    std::size_t best = 0;
    double kept = 0.0, nearest = std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < items.size(); ++k) {
      kept += items[k].cost;
      if (const double d = std::fabs(kept - (1.0 - ratio) * total); d < nearest) {
        nearest = d;
        best = k;
      }
    }
    std::vector<Indices> expected(2);
    for (std::size_t k = best + 1; k < items.size(); ++k)
      items[k].head >= 0 ? expected[0].push_back(items[k].head)
                         : expected[1].push_back(items[k].unit);
    for (Indices& indices : expected) std::sort(indices.begin(), indices.end());
    CHECK(select_flap(block.graph, block.groups, scores, {.ratio = ratio}) == expected);
  }
}

TEST_CASE("a selection by standardized scores refuses scores of something else") {
  const Block block(3, 2, 2, 4);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const MemberScores of_units{{"down", "in"}, {1, 2, 3, 4}};
  CHECK_THROWS_AS(standardized_channel_scores(block.groups[0], of_units), ArgumentError);
  CHECK_THROWS_AS(standardized_channel_scores(block.groups[1], {{"down", "in"}, {1, 2, 3}}),
                  ShapeError);
  CHECK_THROWS_WITH(standardized_channel_scores(block.groups[1], {{"down", "in"}, {1, nan, 3, 4}}),
                    "the score of index 1 of down[in] is not finite");
  CHECK(standardized_channel_scores(block.groups[1], {{"down", "in"}, {2, 2, 2, 2}}) ==
        std::vector<double>(4, 0.0));
  CHECK_THROWS_AS(select_flap(block.graph, block.groups, std::vector<MemberScores>{of_units}),
                  ShapeError);
}
