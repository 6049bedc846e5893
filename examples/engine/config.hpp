#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/block_description.hpp"
#include "engine/encoder_description.hpp"
#include "engine/rope_parameters.hpp"
#include "pare/core/error.hpp"

namespace engine {

/// What tensors outside blocks are called, and what precedes the names of those within. Where a
/// checkpoint leaves the root out, or puts something before it, so does `root`.
struct TensorNames {
  std::string root = "model.";     ///< before all but the output layer
  std::string blocks = "layers.";  ///< before a block's number
  std::string embedding = "embed_tokens";
  /// Learned positions, added to the embedding, the whole name; empty where there are none.
  std::string positions{};
  std::string final_norm = "norm";  ///< empty where there is none
  std::string output = "lm_head";
  /// What may stand in place of the root, the most usual first.
  std::vector<std::string> other_roots{};
  /// How norms call their tensors.
  std::string norm_weight = ".weight", norm_bias = ".bias";
};

/// How a family's config.json spells the sizes of its models; "" where it does not say one.
struct SizeKeys {
  std::string hidden = "hidden_size";
  std::string intermediate = "intermediate_size";
  std::string layers = "num_hidden_layers";
  std::string heads = "num_attention_heads";
  std::string positions = "max_position_embeddings";
  std::string kv_heads{}, head_dim{};
  /// transformers refuses heads that do not divide the hidden size, whatever head_dim says.
  bool heads_divide_hidden = false;
  /// Of mixtures of experts: how many, and how wide they and the shared one are.
  std::string experts{}, expert_intermediate{}, shared_intermediate{};
  /// Which flag says whether layers have a bias that compute a role.
  std::map<Role, std::string> biases{};
};

/// A decoder or encoder, from a Hugging Face config.json: its sizes, what it computes and what its
/// tensors are called.
///
/// What only a forward pass would compute wrongly does not keep a model from being read: see
/// require_forward.
struct ModelConfig {
  std::string family;  ///< model_type

  Index vocab_size = 0;
  Index hidden_size = 0;
  Index intermediate_size = 0;
  Index layers = 0;
  Index heads = 0;
  Index kv_heads = 0;
  Index head_dim = 0;
  Index max_positions = 0;

  NormDescription norm;
  QueryKeyNorm query_key_norm = QueryKeyNorm::none;
  /// The ways in which blocks turn queries and keys.
  std::vector<RopeParameters> ropes;
  float score_scale = 0.0f;
  /// Scores are cap * tanh(scores / cap); 0 for none.
  float score_cap = 0.0f;
  Activation activation = Activation::silu;
  /// The feed-forward half reads what enters the block, and both halves are added at once.
  bool parallel = false;
  /// What each half is multiplied with before it is added.
  float residual_scale = 1.0f;
  std::vector<BlockDescription> blocks;

  float embedding_scale = 1.0f;
  /// Of models that are no decoders.
  std::optional<EncoderDescription> encoder;
  bool tied_embeddings = false;
  float logit_scale = 1.0f;
  float logit_cap = 0.0f;

  TensorNames names;
  SizeKeys keys;
  /// Put before a text; -1 for none.
  Index begin_token = -1;
  /// Each of these ends a text.
  std::vector<Index> end_tokens;

  /// Why this engine would compute the model wrongly, naming the field; empty when it would not.
  std::string not_computed;
  /// Contradictions and oddities, each in one line.
  std::vector<std::string> notices;

  [[nodiscard]] Index q_size() const noexcept { return heads * head_dim; }
  [[nodiscard]] Index kv_size() const noexcept { return kv_heads * head_dim; }
  /// A vocabulary of 256 reads and writes raw bytes.
  [[nodiscard]] bool is_byte_level() const noexcept { return vocab_size == 256; }

  [[nodiscard]] const BlockDescription& block(Index index) const {
    return blocks[static_cast<std::size_t>(index)];
  }
  /// "model.layers.3."
  [[nodiscard]] std::string block_prefix(Index block) const {
    return names.root + names.blocks + std::to_string(block) + ".";
  }
  /// "model.layers.3.mlp.down_proj"
  [[nodiscard]] std::string linear_name(Index block, std::size_t linear) const {
    return block_prefix(block) + this->block(block).linears[linear].name;
  }
  /// What enters the layers at a site, for messages: "input of model.layers.3.mlp.down_proj".
  [[nodiscard]] std::string input_name(Index block, Site site) const;

  /// What commands that run the model ask before they do.
  ///
  /// Errors    FormatError naming the field that would be computed wrongly
  void require_forward() const;
};

/// Whether parse_config knows the family of a model.
[[nodiscard]] bool is_known_family(const nlohmann::json& json);

/// Reads config.json. Fields that are missing have the values that transformers gives the family.
///
/// Errors    FormatError naming the field that is missing or absurd, for a family that this engine
///           does not know, and for numbers that contradict each other
[[nodiscard]] ModelConfig parse_config(const nlohmann::json& json);

}  // namespace engine
