#include "engine/block_tensors.hpp"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace engine {
namespace {

/// Calls f(name after the block's prefix, norm, first, size) for each norm that is stored as a
/// tensor; heads that have their own are parts of one norm.
template <class BlockType, class F>
void for_each_norm(const ModelConfig& config, const BlockDescription& description, BlockType* block,
                   F f) {
  for (std::size_t place = 0; place < norm_places; ++place)
    if (const std::string& name = description.norms[place]; !name.empty())
      f(name, block ? &block->norms[place] : nullptr, Index{0}, config.hidden_size);
  const auto of_heads = [&](const std::string& name, auto* norm, Index heads) {
    switch (config.query_key_norm) {
      case QueryKeyNorm::none:
        return;
      case QueryKeyNorm::shared_by_heads:
        return f(name, norm, Index{0}, config.head_dim);
      case QueryKeyNorm::whole_row:
        return f(name, norm, Index{0}, heads * config.head_dim);
      case QueryKeyNorm::own_of_heads:
        for (Index h = 0; h < heads; ++h)
          f(name + "." + std::to_string(h), norm, h * config.head_dim, config.head_dim);
    }
  };
  of_heads(description.query_norm, block ? &block->query_norm : nullptr, config.heads);
  of_heads(description.key_norm, block ? &block->key_norm : nullptr, config.kv_heads);
}

/// The block of the model that a tensor belongs to by its name, and the rest of the name.
std::optional<std::pair<Index, std::string_view>> split(const ModelConfig& config,
                                                        std::string_view name) {
  const std::string prefix = config.names.root + config.names.blocks;
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  const std::size_t digits = std::min(name.find('.'), name.size());
  Index block = 0;
  for (const char c : name.substr(0, digits)) {
    if (c < '0' || c > '9' || block >= config.layers) return std::nullopt;
    block = block * 10 + (c - '0');
  }
  const bool is_plain = name.substr(0, digits) == std::to_string(block);
  if (!is_plain || block >= config.layers || digits == name.size()) return std::nullopt;
  return std::pair(block, name.substr(digits + 1));
}

}  // namespace

std::vector<NormShape> norm_shapes(const ModelConfig& config, Index index) {
  std::vector<NormShape> shapes;
  for_each_norm(config, config.block(index), static_cast<const Block*>(nullptr),
                [&](const std::string& name, const Norm*, Index, Index size) {
                  shapes.push_back({config.block_prefix(index) + name, size});
                });
  return shapes;
}

std::vector<std::string> router_names(const ModelConfig& config, Index index) {
  std::vector<std::string> names;
  if (const auto& experts = config.block(index).experts)
    for (const std::string& name : {experts->router, experts->shared_gate})
      if (!name.empty()) names.push_back(config.block_prefix(index) + name);
  return names;
}

Block read_block(const ModelConfig& config, Index index, const BlockSource& source,
                 ReadExperts experts_read) {
  Block block;
  block.description = config.block(index);
  const std::string prefix = config.block_prefix(index);
  for_each_norm(config, block.description, &block,
                [&](const std::string& name, Norm* norm, Index first, Index size) {
                  const auto read = [&](const std::string& part, pare::Vector<float>& all) {
                    const pare::Vector<float> values = source.vector(prefix + name + part);
                    pare::Vector<float> joined({first + size});
                    std::copy_n(all.data(), first, joined.data());
                    std::copy_n(values.data(), size, joined.data() + first);
                    all = std::move(joined);
                  };
                  const auto& [weight, bias] =
                      std::tie(config.names.norm_weight, config.names.norm_bias);
                  read(weight, norm->weight);
                  if (source.contains(prefix + name + bias)) read(bias, norm->bias);
                });
  const bool later = block.description.experts && experts_read == ReadExperts::when_used;
  std::vector<std::string> names;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < block.description.linears.size(); ++i) {
    if (later && block.description.linears[i].expert >= 0) continue;
    names.push_back(config.linear_name(index, i));
    places.push_back(i);
  }
  std::vector<Linear> linears = source.linears(names);
  block.linears.resize(block.description.linears.size());
  for (std::size_t i = 0; i < places.size(); ++i) block.linears[places[i]] = std::move(linears[i]);
  if (later)
    block.read_expert = [&config, index, source](Index expert) {
      return read_expert(config, index, expert, source);
    };
  if (const auto& experts = block.description.experts) {
    block.router = source.matrix(prefix + experts->router + ".weight");
    if (!experts->shared_gate.empty())
      block.shared_gate = source.matrix(prefix + experts->shared_gate + ".weight");
  }
  return block;
}

Block read_expert(const ModelConfig& config, Index index, Index expert, const BlockSource& source) {
  Block own;
  std::vector<std::string> names;
  const BlockDescription& description = config.block(index);
  for (std::size_t i = 0; i < description.linears.size(); ++i) {
    if (description.linears[i].expert != expert) continue;
    own.description.linears.push_back(description.linears[i]);
    names.push_back(config.linear_name(index, i));
  }
  own.linears = source.linears(names);
  return own;
}

void for_each_norm_tensor(
    const ModelConfig& config, Index index, const Block& block,
    pare::FunctionRef<void(const std::string& name, const pare::Vector<float>& values)> use) {
  const std::string prefix = config.block_prefix(index);
  for_each_norm(config, block.description, &block,
                [&](const std::string& name, const Norm* norm, Index first, Index size) {
                  const auto give = [&](const std::string& part, const pare::Vector<float>& all) {
                    if (all.empty()) return;
                    pare::Vector<float> values({size});
                    std::copy_n(all.data() + first, size, values.data());
                    use(prefix + name + part, values);
                  };
                  give(config.names.norm_weight, norm->weight);
                  give(config.names.norm_bias, norm->bias);
                });
}

bool is_block_tensor(const ModelConfig& config, const std::string& name) {
  const auto found = split(config, name);
  if (!found) return false;
  const auto& [index, rest] = *found;
  const std::size_t dot = std::min(rest.rfind('.'), rest.size());
  const std::string_view layer = rest.substr(0, dot), part = rest.substr(dot);
  const BlockDescription& description = config.block(index);
  bool is_norm = false;
  if (part == config.names.norm_weight || part == config.names.norm_bias)
    for_each_norm(config, description, static_cast<const Block*>(nullptr),
                  [&](const std::string& norm, const Norm*, Index, Index) {
                    is_norm = is_norm || norm == layer;
                  });
  if (is_norm || (part != ".weight" && part != ".bias")) return is_norm;
  if (const auto& experts = description.experts)
    if (part == ".weight" && (layer == experts->router || layer == experts->shared_gate))
      return true;
  return std::any_of(description.linears.begin(), description.linears.end(),
                     [&](const LinearDescription& linear) { return linear.name == layer; });
}

}  // namespace engine
