#pragma once

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/rope_parameters.hpp"
#include "pare/core/error.hpp"
#include "pare/core/index.hpp"

namespace engine {

using pare::Index;

/// Of layers that see all positions.
inline constexpr Index no_window = std::numeric_limits<Index>::max();

/// The numbers of a LLaMA-family decoder, from a Hugging Face config.json.
///
/// What only a forward pass would compute wrongly does not keep a model from being read: see
/// require_forward.
struct ModelConfig {
  Index vocab_size = 0;
  Index hidden_size = 0;
  Index intermediate_size = 0;
  Index layers = 0;
  Index heads = 0;
  Index kv_heads = 0;
  Index head_dim = 0;
  Index max_positions = 0;
  float rms_norm_eps = 1e-6f;
  RopeParameters rope;
  bool tied_embeddings = false;
  /// Layers that have a bias by the configuration; what is stored may differ.
  bool attention_bias = false, output_bias = false, mlp_bias = false;
  /// Put before a text; -1 for none.
  Index begin_token = -1;
  /// Each of these ends a text.
  std::vector<Index> end_tokens;

  /// Why this engine would compute the model wrongly, naming the field; empty when it would not.
  std::string not_computed;
  /// Of each layer: a position sees as many, itself the last of them.
  std::vector<Index> windows;
  /// Contradictions and oddities, each in one line.
  std::vector<std::string> notices;

  [[nodiscard]] Index q_size() const noexcept { return heads * head_dim; }
  [[nodiscard]] Index kv_size() const noexcept { return kv_heads * head_dim; }
  /// A vocabulary of 256 reads and writes raw bytes.
  [[nodiscard]] bool is_byte_level() const noexcept { return vocab_size == 256; }

  /// What commands that run the model ask before they do.
  ///
  /// Errors    FormatError naming the field that would be computed wrongly
  void require_forward() const;
};

/// Reads config.json. Fields that are missing have the values that transformers gives the family.
///
/// Errors    FormatError naming the field that is missing or absurd, for an architecture that this
///           engine does not know, and for numbers that contradict each other
[[nodiscard]] ModelConfig parse_config(const nlohmann::json& json);

/// The tokens of a field like eos_token_id, a number or a list of them; negative ones mean none.
/// Those outside the vocabulary are left out and noted. Throws FormatError for anything else.
[[nodiscard]] std::vector<Index> read_token_ids(const nlohmann::json& json, const char* key,
                                                Index vocab_size,
                                                std::vector<std::string>& notices);

}  // namespace engine
