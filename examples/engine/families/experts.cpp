#include "engine/families/experts.hpp"

#include <algorithm>
#include <utility>

namespace engine {

void set_experts(const ModelConfig& config, const ExpertsDescription& experts,
                 const std::string& prefix, const ExpertLayers& names, Index hidden,
                 BlockDescription& block) {
  std::erase_if(block.linears, [](const LinearDescription& linear) {
    return linear.site.kind == Site::Kind::feed_forward_input ||
           linear.site.kind == Site::Kind::feed_forward_hidden;
  });
  block.experts = experts;
  const Index width = config.hidden_size;
  for (Index e = 0; e < experts.count; ++e) {
    const std::string own = prefix + "experts." + std::to_string(e) + ".";
    const Site input{Site::Kind::feed_forward_input, e}, inner{Site::Kind::feed_forward_hidden, e};
    for (auto& linear : {make_linear(own + names.gate, input, Role::gate, hidden, width),
                         make_linear(own + names.up, input, Role::up, hidden, width),
                         make_linear(own + names.down, inner, Role::down, width, hidden)}) {
      block.linears.push_back(linear);
      block.linears.back().expert = e;
    }
  }
}

ExpertsDescription read_experts(const ConfigFields& fields, const char* key, Index count,
                                Index chosen) {
  ExpertsDescription experts{.count = fields.size(key, count, most_experts),
                             .chosen = fields.size("num_experts_per_tok", chosen)};
  if (experts.chosen > experts.count)
    throw pare::FormatError(field("num_experts_per_tok") + " is " + std::to_string(experts.chosen) +
                            " of " + std::to_string(experts.count) + " experts");
  return experts;
}

void read_qwen_experts(const ConfigFields& fields, Index count, Index chosen, Index hidden,
                       ModelConfig& config) {
  const char* key = fields.has("num_experts") ? "num_experts" : "num_local_experts";
  ExpertsDescription experts = read_experts(fields, key, count, chosen);
  experts.normalized = fields.flag("norm_topk_prob", false);
  experts.router = "mlp.gate";
  config.keys.experts = key;
  config.keys.expert_intermediate = "moe_intermediate_size";
  const Index width = fields.size("moe_intermediate_size", hidden);
  const Index step = fields.size("decoder_sparse_step", 1);
  const nlohmann::json listed =
      fields.has("mlp_only_layers") ? fields.list("mlp_only_layers") : nlohmann::json::array();
  for_each_block(config, [&](Index i, BlockDescription& block) {
    if ((i + 1) % step == 0 && std::find(listed.begin(), listed.end(), i) == listed.end())
      set_experts(config, experts, "mlp.", {}, width, block);
  });
}

}  // namespace engine
