#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/block.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/pruning/structure/dependency_graph.hpp"

/// What must be removed together in a block of any family: its description as a dependency graph.
namespace engine {

/// What goes as a head.
enum class HeadUnit : std::uint8_t {
  key_value_heads,  ///< a head of keys and values with all query heads that read it
  /// Query heads, as many of each head of keys and values, which stays; where each has its own they
  /// go with it.
  query_heads,
};

/// Names of axes that no tensor stores: heads, and what is between the layers of a feed-forward
/// half, "feed_forward", "feed_forward.shared" or "feed_forward.E" of expert E.
inline constexpr const char* heads_axis = "heads";
[[nodiscard]] std::string feed_forward_axis(Index expert = Site::all_tokens);

/// Tensors of a block are called as its layers and norms are, without a prefix and without
/// ".weight": a layer has the axes "out" and "in", its bias is "NAME.bias". The width of the model
/// is coupled to nothing. Of a block whose layers are not in memory the description counts.
///
/// Attributes: "heads", "kv_heads", and the name of each feed-forward axis, its width.
[[nodiscard]] pare::DependencyGraph block_graph(const ModelConfig& config, const Block& block,
                                                HeadUnit unit = HeadUnit::key_value_heads);

/// Leaves of a block, in float32, and of its description what is left in its graph. The model's
/// configuration still has the old heads: see `resize`.
void slice_block(const pare::DependencyGraph& graph, Block& block);

/// For each channel of a group the sum of what all its layers say of it. `sums` of a layer, by its
/// place, and an axis (0 is out, 1 in) has the axis's extent.
[[nodiscard]] std::vector<double> sum_over_group(
    const Block& block, const pare::ChannelGroup& group,
    const std::function<std::vector<double>(std::size_t layer, std::size_t axis)>& sums);

/// How large the weights of each channel of a group are: the sum of the squares of all of them.
[[nodiscard]] std::vector<double> squared_weights(const Block& block,
                                                  const pare::ChannelGroup& group,
                                                  const pare::Execution& execution = {});

}  // namespace engine
