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
                       const ExpertsDescription experts{
                           .count = fields.size("num_local_experts", 8, most_experts),
                           .chosen = fields.size("num_experts_per_tok", 2),
                           .normalized = true,
                           .router = "block_sparse_moe.gate"};
                       if (experts.chosen > experts.count)
                         throw pare::FormatError(field("num_experts_per_tok") + " is " +
                                                 std::to_string(experts.chosen) + " of " +
                                                 std::to_string(experts.count) + " experts");
                       for_each_block(config, [&](Index, BlockDescription& block) {
                         set_experts(config, experts, "block_sparse_moe.", {"w1", "w3", "w2"},
                                     config.intermediate_size, block);
                       });
                       read_windows(fields, {}, config, [](Index) { return true; });
                     }};

}  // namespace engine
