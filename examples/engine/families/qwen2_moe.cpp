#include <algorithm>

#include "engine/families/experts.hpp"
#include "engine/families/list.hpp"

namespace engine {
namespace {

/// One more expert, which sees all tokens.
void add_shared_expert(const ModelConfig& config, Index hidden, BlockDescription& block) {
  block.experts->shared_gate = "mlp.shared_expert_gate";
  std::vector<LinearDescription> shared = gated_linears(config, "mlp.shared_expert.", hidden);
  for (LinearDescription& linear : shared) linear.expert = Site::shared_expert;
  shared.back().site.expert = Site::shared_expert;
  const auto first_expert =
      std::find_if(block.linears.begin(), block.linears.end(),
                   [](const LinearDescription& linear) { return linear.expert >= 0; });
  block.linears.insert(first_expert, shared.begin(), shared.end());
}

}  // namespace

/// Yang et al., "Qwen2 Technical Report", 2024: Qwen2 with experts, one of which sees all tokens.
const Family qwen2_moe{
    "qwen2_moe", "Qwen2Moe", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields, {.kv_heads = 16, .max_positions = 32768}, config);
      read_bias(fields, "qkv_bias", true, {Role::query, Role::key, Role::value}, config);
      read_qwen_experts(fields, 60, 4, 1408, config);
      config.keys.shared_intermediate = "shared_expert_intermediate_size";
      const Index hidden = fields.size("shared_expert_intermediate_size", 5632);
      for_each_block(config, [&](Index, BlockDescription& block) {
        if (block.experts) add_shared_expert(config, hidden, block);
      });
      read_windows_of_last_blocks(fields, config);
    }};

}  // namespace engine
