#include "engine/config_changes.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace engine {
namespace {

using Json = nlohmann::json;

/// Sizes that a configuration says once for all blocks; none where no block has such a part.
struct BlockSizes {
  std::optional<Index> queries, keys, width, expert_width, shared_width, experts;
};

BlockSizes sizes_of(const ModelConfig& config) {
  BlockSizes sizes;
  const auto rows = [](const BlockDescription& block, Role role, Index expert) {
    const auto found = block.find(role, expert);
    return found ? std::optional(found->part->rows()) : std::nullopt;
  };
  const auto set = [](std::optional<Index>& size, std::optional<Index> value) {
    if (!size) size = value;
  };
  for (const BlockDescription& block : config.blocks) {
    set(sizes.queries, rows(block, Role::query, Site::all_tokens));
    set(sizes.keys, rows(block, Role::key, Site::all_tokens));
    set(sizes.width, rows(block, Role::up, Site::all_tokens));
    set(sizes.expert_width, rows(block, Role::up, 0));
    set(sizes.shared_width, rows(block, Role::up, Site::shared_expert));
    if (block.experts) set(sizes.experts, block.experts->count);
  }
  return sizes;
}

[[noreturn]] void refuse(const ModelConfig& config, const std::string& what) {
  throw pare::FormatError("the config.json of " + config.family + " models cannot say " + what);
}

void set_sizes(const ModelConfig& before, const ModelConfig& now, Json& json) {
  const BlockSizes old = sizes_of(before), sizes = sizes_of(now);
  const auto set = [&](const std::string& key, std::optional<Index> was, std::optional<Index> is,
                       const char* what) {
    if (!is || was == is) return;
    if (key.empty()) refuse(before, std::string(what) + ": they are not stored apart");
    json[key] = *is;
  };
  const SizeKeys& keys = before.keys;
  set(keys.layers, before.layers, now.layers, "how many blocks there are");
  set(keys.intermediate, old.width, sizes.width, "the width of feed-forward halves");
  set(keys.expert_intermediate, old.expert_width, sizes.expert_width, "the width of experts");
  set(keys.shared_intermediate, old.shared_width, sizes.shared_width,
      "the width of the shared expert");
  set(keys.experts, old.experts, sizes.experts, "how many experts there are");
  if (now.heads == before.heads && now.kv_heads == before.kv_heads) return;
  if (keys.head_dim.empty())
    refuse(before, "that there are fewer heads: their size is " + keys.hidden + " / " + keys.heads +
                       " to readers");
  json[keys.head_dim] = now.head_dim;
  json[keys.heads] = now.heads;
  if (!keys.kv_heads.empty()) json[keys.kv_heads] = now.kv_heads;
}

/// Flags of layers that have a bias now.
void set_biases(const ModelConfig& before, const ModelConfig& now, Json& json) {
  for (std::size_t b = 0; b < now.blocks.size(); ++b)
    for (const LinearDescription& linear : now.blocks[b].linears)
      for (const LayerPart& part : linear.parts) {
        const auto was = before.blocks.front().find(part.role);
        if (!linear.bias || !was || before.blocks.front().linears[was->linear].bias) continue;
        const auto key = before.keys.biases.find(part.role);
        if (key == before.keys.biases.end()) refuse(before, "that " + linear.name + " has a bias");
        json[key->second] = true;
      }
}

/// Lists with an entry for each block, and what says by numbers or by a rule which blocks differ.
void cut_lists(const ModelConfig& before, const ModelConfig& now, std::span<const Index> kept,
               Json& json) {
  if (before.layers == now.layers) return;
  for (const char* key : {"layer_types", "no_rope_layers"}) {
    if (!json.contains(key) || !json[key].is_array() || std::ssize(json[key]) < before.layers)
      continue;
    const Json all = std::exchange(json[key], Json::array());
    for (const Index block : kept) json[key].push_back(all[static_cast<std::size_t>(block)]);
  }
  if (json.contains("mlp_only_layers") && json["mlp_only_layers"].is_array()) {
    const Json all = std::exchange(json["mlp_only_layers"], Json::array());
    for (Index i = 0; i < std::ssize(kept); ++i)
      if (std::find(all.begin(), all.end(), kept[static_cast<std::size_t>(i)]) != all.end())
        json["mlp_only_layers"].push_back(i);
  }
}

/// Spells out, block by block, what was said by a rule that removed blocks break: every sixth block
/// sees all positions, every fourth does not turn, every second has experts.
void spell_out(const ModelConfig& now, const ModelConfig& found, Json& json) {
  const auto differ = [&](auto of_block) {
    for (std::size_t b = 0; b < now.blocks.size(); ++b)
      if (of_block(now.blocks[b]) != of_block(found.blocks[b])) return true;
    return false;
  };
  const auto list = [&](const char* key, auto of_block) {
    json[key] = Json::array();
    for (const BlockDescription& block : now.blocks) json[key].push_back(of_block(block));
  };
  if (differ([](const BlockDescription& block) { return block.window; }))
    list("layer_types", [](const BlockDescription& block) {
      return block.window == no_window ? "full_attention" : "sliding_attention";
    });
  if (differ([](const BlockDescription& block) { return block.rope.has_value(); }))
    list("no_rope_layers", [](const BlockDescription& block) { return block.rope ? 1 : 0; });
  if (differ([](const BlockDescription& block) { return block.experts.has_value(); })) {
    json["decoder_sparse_step"] = 1;
    json["mlp_only_layers"] = Json::array();
    for (std::size_t b = 0; b < now.blocks.size(); ++b)
      if (!now.blocks[b].experts) json["mlp_only_layers"].push_back(b);
  }
}

/// What stands in the way of readers, empty when nothing does.
std::string difference(const ModelConfig& now, const ModelConfig& found) {
  if (found.layers != now.layers) return "that there are " + std::to_string(now.layers) + " blocks";
  for (std::size_t b = 0; b < now.blocks.size(); ++b) {
    const BlockDescription &is = now.blocks[b], &read = found.blocks[b];
    for (std::size_t i = 0; i < std::min(is.linears.size(), read.linears.size()); ++i)
      if (is.linears[i] != read.linears[i])
        return "that " + now.linear_name(static_cast<Index>(b), i) + " has the shape " +
               pare::to_string(is.linears[i].shape) + (is.linears[i].bias ? " and a bias" : "");
    if (is != read) return "what block " + std::to_string(b) + " is";
  }
  if (found.heads != now.heads || found.kv_heads != now.kv_heads || found.head_dim != now.head_dim)
    return "that there are " + std::to_string(now.heads) + " heads of " +
           std::to_string(now.head_dim);
  return "";
}

}  // namespace

ModelConfig resize(ModelConfig config, std::vector<BlockDescription> blocks) {
  config.blocks = std::move(blocks);
  config.layers = std::ssize(config.blocks);
  const BlockSizes sizes = sizes_of(config);
  if (sizes.queries) config.heads = *sizes.queries / config.head_dim;
  if (sizes.keys) config.kv_heads = *sizes.keys / config.head_dim;
  if (sizes.width) config.intermediate_size = *sizes.width;
  return config;
}

nlohmann::json config_json(const nlohmann::json& json, const ModelConfig& before,
                           const ModelConfig& now, std::span<const Index> kept) {
  Json result = json;
  set_sizes(before, now, result);
  set_biases(before, now, result);
  cut_lists(before, now, kept, result);
  ModelConfig found = parse_config(result);
  if (!difference(now, found).empty() && found.layers == now.layers) {
    spell_out(now, found, result);
    found = parse_config(result);
  }
  if (const std::string what = difference(now, found); !what.empty()) refuse(before, what);
  return result;
}

}  // namespace engine
