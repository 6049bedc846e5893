#pragma once

#include <string>

#include "engine/families/decoder.hpp"

/// What mixtures of experts have in common.
namespace engine {

/// Far beyond what models have, and few enough to be described one by one.
inline constexpr Index most_experts = 4096;

/// Names of an expert's layers.
struct ExpertLayers {
  const char* gate = "gate_proj";
  const char* up = "up_proj";
  const char* down = "down_proj";
};

/// Puts `experts` in place of a block's feed-forward half: "PREFIXexperts.E.gate_proj" ...,
/// `hidden` wide.
void set_experts(const ModelConfig& config, const ExpertsDescription& experts,
                 const std::string& prefix, const ExpertLayers& names, Index hidden,
                 BlockDescription& block);

/// How many experts there are (`key`) and how many a token gets, with what a family means where its
/// config.json says nothing.
[[nodiscard]] ExpertsDescription read_experts(const ConfigFields& fields, const char* key,
                                              Index count, Index chosen);

/// Qwen's: `set_experts` in the blocks that decoder_sparse_step and mlp_only_layers choose, from
/// num_experts and its companions.
void read_qwen_experts(const ConfigFields& fields, Index count, Index chosen, Index hidden,
                       ModelConfig& config);

}  // namespace engine
