#include "engine/families/experts.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Jiang et al., "Mixtral of Experts", 2024: Mistral with experts in every block.
const Family mixtral{"mixtral", "Mixtral", [](const ConfigFields& fields, ModelConfig& config) {
                       read_decoder(fields,
                                    {.kv_heads = 8,
                                     .max_positions = 131072,
                                     .epsilon = 1e-5f,
                                     .rope = {.theta = 1e6f},
                                     .begin_token = 1,
                                     .end_token = 2},
                                    config);
                       ExpertsDescription experts = read_experts(fields, "num_local_experts", 8, 2);
                       config.keys.experts = "num_local_experts";
                       config.keys.expert_intermediate = config.keys.intermediate;
                       experts.normalized = true;
                       experts.router = "block_sparse_moe.gate";
                       for_each_block(config, [&](Index, BlockDescription& block) {
                         set_experts(config, experts, "block_sparse_moe.", {"w1", "w3", "w2"},
                                     config.intermediate_size, block);
                       });
                       read_windows(fields, {}, config, [](Index) { return true; });
                     }};

}  // namespace engine
