#include "cli/structure/renumbered_copy.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string>

namespace cli {
namespace {

/// The block that a tensor is of, by the prefix of its name.
std::optional<Index> block_of(const engine::ModelConfig& config, const std::string& tensor) {
  const std::string all = config.names.root + config.names.blocks;
  if (!tensor.starts_with(all)) return std::nullopt;
  const std::size_t end = tensor.find('.', all.size());
  if (end == std::string::npos) return std::nullopt;
  const std::string number = tensor.substr(all.size(), end - all.size());
  for (Index i = 0; i < config.layers; ++i)
    if (number == std::to_string(i)) return i;
  return std::nullopt;
}

}  // namespace

std::vector<std::vector<CopiedTensor>> tensors_without_blocks(const engine::Checkpoint& checkpoint,
                                                              const std::vector<Index>& kept) {
  const engine::ModelConfig& config = checkpoint.config();
  std::vector<std::vector<CopiedTensor>> shards(kept.size() + 1);
  for (const std::string& name : checkpoint.tensors().names()) {
    const std::optional<Index> block = block_of(config, name);
    if (!block) {
      shards.back().push_back({name, name});
      continue;
    }
    const auto found = std::find(kept.begin(), kept.end(), *block);
    if (found == kept.end()) continue;
    const auto number = found - kept.begin();
    shards[static_cast<std::size_t>(number)].push_back(
        {config.block_prefix(number) + name.substr(config.block_prefix(*block).size()), name});
  }
  return shards;
}

std::vector<std::vector<CopiedTensor>> tensors_without_experts(
    const engine::Checkpoint& checkpoint, const engine::ModelConfig& now,
    const std::vector<std::vector<Index>>& kept) {
  const engine::ModelConfig& config = checkpoint.config();
  // What experts' layers are called now; nothing of those that are gone.
  std::map<std::string, std::string> renamed;
  std::map<std::string, std::vector<Index>> routers;
  for (Index i = 0; i < config.layers; ++i) {
    const engine::BlockDescription& block = config.block(i);
    if (!block.experts) continue;
    const std::vector<Index>& own = kept[static_cast<std::size_t>(i)];
    routers[config.block_prefix(i) + block.experts->router] = own;
    std::map<Index, std::size_t> seen;  // layers of each expert
    for (std::size_t l = 0; l < block.linears.size(); ++l) {
      const Index expert = block.linears[l].expert;
      if (expert < 0) continue;
      const auto found = std::find(own.begin(), own.end(), expert);
      std::string& name = renamed[config.linear_name(i, l)];
      std::size_t place = seen[expert]++;
      if (found == own.end()) continue;
      const auto& linears = now.block(i).linears;
      for (std::size_t n = 0; n < linears.size(); ++n)
        if (linears[n].expert == found - own.begin() && place-- == 0)
          name = config.block_prefix(i) + linears[n].name;
    }
  }
  std::vector<std::vector<CopiedTensor>> shards(static_cast<std::size_t>(config.layers) + 1);
  for (const std::string& name : checkpoint.tensors().names()) {
    const std::size_t dot = std::min(name.rfind('.'), name.size());
    CopiedTensor copied{name, name};
    if (const auto found = renamed.find(name.substr(0, dot)); found != renamed.end()) {
      if (found->second.empty()) continue;
      copied.name = found->second + name.substr(dot);
    }
    if (const auto found = routers.find(name.substr(0, dot)); found != routers.end())
      copied.rows = found->second;
    const auto block = block_of(config, name);
    shards[block ? static_cast<std::size_t>(*block) : shards.size() - 1].push_back(copied);
  }
  return shards;
}

}  // namespace cli
