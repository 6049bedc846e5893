#include "engine/block_graph.hpp"

#include <algorithm>
#include <vector>

#include "pare/pruning/structure/axis_scores.hpp"
#include "pare/pruning/structure/group_scores.hpp"

namespace engine {
namespace {

constexpr const char* queries = "queries";
constexpr const char* keys = "keys";
constexpr const char* values = "values";

/// The axis of what a part of a layer computes.
std::string axis_of(Role role, Index expert) {
  switch (role) {
    case Role::query:
      return queries;
    case Role::key:
      return keys;
    case Role::value:
      return values;
    case Role::gate:
    case Role::up:
      return feed_forward_axis(expert);
    case Role::attention_output:
    case Role::down:
      return "";  // the width of the model
  }
  return "";
}

class Builder {
 public:
  Builder(const ModelConfig& config, const Block& block) : config_(config), block_(block) {}

  pare::DependencyGraph build(HeadUnit unit) {
    if (block_.description.find(Role::query)) add_attention(unit);
    for (const LinearDescription& linear : block_.description.linears)
      for (const LayerPart& part : linear.parts)
        if (part.role == Role::up) add_feed_forward(linear.expert, part.rows());
    for (std::size_t i = 0; i < block_.description.linears.size(); ++i) add_layer(i);
    add_norm(block_.description.query_norm, block_.query_norm, queries);
    add_norm(block_.description.key_norm, block_.key_norm, keys);
    return std::move(graph_);
  }

 private:
  void add_attention(HeadUnit unit) {
    const Index dim = config_.head_dim, times = config_.heads / config_.kv_heads;
    const bool of_queries = unit == HeadUnit::query_heads && times > 1;
    graph_.add_channels(heads_axis, of_queries ? config_.heads : config_.kv_heads);
    graph_.add_channels(queries, config_.q_size());
    graph_.add_channels(keys, config_.kv_size());
    graph_.add_channels(values, config_.kv_size());
    graph_.couple({heads_axis}, {queries}, pare::Flattened{of_queries ? dim : times * dim});
    if (of_queries) {
      graph_.balance({heads_axis}, config_.kv_heads);
    } else {
      graph_.couple({heads_axis}, {keys}, pare::Flattened{dim});
      graph_.couple({heads_axis}, {values}, pare::Flattened{dim});
    }
    graph_.declare({.name = "heads", .axis = {queries}, .divisor = dim});
    graph_.declare({.name = "kv_heads", .axis = {keys}, .divisor = dim});
  }

  void add_feed_forward(Index expert, Index width) {
    const std::string axis = feed_forward_axis(expert);
    graph_.add_channels(axis, width);
    graph_.declare({.name = axis, .axis = {axis}});
  }

  void add_layer(std::size_t index) {
    const LinearDescription& linear = block_.description.linears[index];
    graph_.add_tensor(linear.name, {linear.shape[0], linear.shape[1]}, {"out", "in"});
    const bool has_bias =
        block_.linears.empty() ? linear.bias : !block_.linears[index].bias().empty();
    const std::string bias = linear.name + ".bias";
    if (has_bias) graph_.add_vector(bias, linear.shape[0]);
    for (const LayerPart& part : linear.parts) {
      const std::string axis = axis_of(part.role, linear.expert);
      if (axis.empty()) continue;
      const pare::FusedPart place{part.first, part.length, part.runs, part.step};
      graph_.couple({axis}, {linear.name, "out"}, place);
      if (has_bias) graph_.couple({axis}, {bias}, place);
    }
    if (linear.site.kind == Site::Kind::attention_output)
      graph_.couple({queries}, {linear.name, "in"});
    if (linear.site.kind == Site::Kind::feed_forward_hidden)
      graph_.couple({feed_forward_axis(linear.expert)}, {linear.name, "in"});
  }

  /// A norm of all heads at once, or of each by itself; one that heads share keeps its size.
  void add_norm(const std::string& name, const Norm& norm, const char* axis) {
    if (name.empty()) return;
    const bool is_shared = config_.query_key_norm == QueryKeyNorm::shared_by_heads;
    const auto add = [&](const std::string& vector) {
      graph_.add_vector(vector, is_shared ? config_.head_dim : graph_.extent({axis}));
      if (!is_shared) graph_.couple({axis}, {vector});
    };
    add(name);
    if (!norm.bias.empty()) add(name + ".bias");
  }

  const ModelConfig& config_;
  const Block& block_;
  pare::DependencyGraph graph_;
};

/// Where the rows of a part are among those that are left.
LayerPart left_of(const LayerPart& part, const std::vector<Index>& kept) {
  LayerPart left{part.role};
  Index rows = 0;
  const Index step = part.runs == 1 ? part.length : part.step;
  for (Index i = 0; i < std::ssize(kept); ++i) {
    const Index behind = kept[static_cast<std::size_t>(i)] - part.first;
    if (behind < 0 || behind / step >= part.runs || behind % step >= part.length) continue;
    if (rows++ == 0) left.first = i;
  }
  left.length = part.runs == 1 ? rows : part.length;
  left.runs = part.runs == 1 ? 1 : rows / part.length;
  left.step = part.step;
  return left;
}

void slice(const pare::DependencyGraph& graph, const std::string& name,
           pare::Vector<float>& vector) {
  if (!vector.empty()) vector = graph.slice(name, vector);
}

}  // namespace

std::string feed_forward_axis(Index expert) {
  if (expert == Site::all_tokens) return "feed_forward";
  return "feed_forward." + (expert == Site::shared_expert ? "shared" : std::to_string(expert));
}

pare::DependencyGraph block_graph(const ModelConfig& config, const Block& block, HeadUnit unit) {
  return Builder(config, block).build(unit);
}

void slice_block(const pare::DependencyGraph& graph, Block& block) {
  for (std::size_t i = 0; i < block.description.linears.size(); ++i) {
    LinearDescription& linear = block.description.linears[i];
    if (!block.linears.empty() && !block.linears[i].dense().empty()) {
      Linear& own = block.linears[i];
      own.dense() = graph.slice(linear.name, own.dense());
      slice(graph, linear.name + ".bias", own.bias());
    }
    for (LayerPart& part : linear.parts) part = left_of(part, graph.kept({linear.name, "out"}));
    linear.shape = {graph.extent({linear.name, "out"}), graph.extent({linear.name, "in"})};
  }
  for (const auto& [name, norm] : {std::pair(&block.description.query_norm, &block.query_norm),
                                   std::pair(&block.description.key_norm, &block.key_norm)}) {
    if (name->empty()) continue;
    slice(graph, *name, norm->weight);
    slice(graph, *name + ".bias", norm->bias);
  }
}

std::vector<double> sum_over_group(
    const Block& block, const pare::ChannelGroup& group,
    const std::function<std::vector<double>(std::size_t layer, std::size_t axis)>& sums) {
  std::vector<pare::MemberScores> members;
  for (std::size_t i = 0; i < block.linears.size(); ++i)
    for (const std::size_t axis : {std::size_t{0}, std::size_t{1}})
      if (const pare::AxisName name{block.description.linears[i].name, axis == 0 ? "out" : "in"};
          group.find(name))
        members.push_back({name, sums(i, axis)});
  return pare::group_scores(
      group, members,
      {.reduction = pare::GroupReduction::sum, .normalization = pare::GroupNormalization::none});
}

std::vector<double> squared_weights(const Block& block, const pare::ChannelGroup& group,
                                    const pare::Execution& execution) {
  return sum_over_group(block, group, [&](std::size_t layer, std::size_t axis) {
    return pare::axis_norms(block.linears[layer].dense().view(), axis, 2.0, execution);
  });
}

}  // namespace engine
