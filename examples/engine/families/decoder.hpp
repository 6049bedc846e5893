#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/config.hpp"
#include "engine/config_fields.hpp"
#include "engine/rope_config.hpp"
#include "pare/core/function_ref.hpp"

/// What decoders have in common: a LLaMA block, which families take and change, and the fields that
/// most of them spell alike.
namespace engine {

/// Far beyond what models have, and few enough to be described one by one.
inline constexpr Index most_blocks = 10000;

/// What a family means where its config.json says nothing, and how it spells some fields.
struct DecoderDefaults {
  SizeKeys keys{};
  bool may_group_heads = true;      ///< else there are as many heads of keys as of queries
  bool may_size_heads = true;       ///< else readers of the family take hidden_size / heads
  std::optional<Index> kv_heads{};  ///< none: as many as heads
  std::optional<Index> head_dim{};  ///< none: hidden_size / heads
  Index max_positions = 2048;
  const char* epsilon_key = "rms_norm_eps";
  float epsilon = 1e-6f;
  const char* activation_key = "hidden_act";
  const char* activation = "silu";
  bool turns = true;  ///< positions turn queries and keys
  RopeDefaults rope{};
  bool ropes_by_type = false;  ///< the family reads them itself
  /// Of the feed-forward half, in multiples of the hidden size, where nothing is said.
  std::optional<Index> widening{};
  bool tied = false;
  Index begin_token = -1, end_token = -1;
};

/// Sizes, norms, positions, activation, tokens and blocks of a LLaMA-like decoder without biases.
void read_decoder(const ConfigFields& fields, const DecoderDefaults& defaults, ModelConfig& config);

/// Gives all blocks one description.
void set_blocks(ModelConfig& config, const BlockDescription& block);
void for_each_block(ModelConfig& config, pare::FunctionRef<void(Index, BlockDescription&)> change);

/// A layer that computes one thing.
[[nodiscard]] LinearDescription make_linear(const std::string& name, Site site, Role role,
                                            Index out, Index in);
/// q, k, v and o as "PREFIXq_proj" ..., with the sizes of `config`.
[[nodiscard]] std::vector<LinearDescription> attention_linears(const ModelConfig& config,
                                                               const std::string& prefix);
/// A layer that computes several things, one after the other.
[[nodiscard]] LinearDescription fused_linear(const std::string& name, Site site, Index in,
                                             std::initializer_list<std::pair<Role, Index>> parts);
/// gate, up and down as "PREFIXgate_proj" ..., `hidden` wide.
[[nodiscard]] std::vector<LinearDescription> gated_linears(const ModelConfig& config,
                                                           const std::string& prefix, Index hidden);
/// up and down, whose names these are.
[[nodiscard]] std::vector<LinearDescription> plain_linears(const ModelConfig& config,
                                                           const std::string& up,
                                                           const std::string& down);
/// The names of norms of queries and keys, in all blocks.
void set_query_key_norms(ModelConfig& config, QueryKeyNorm kind, const std::string& query,
                         const std::string& key);
/// Marks layers of all blocks that compute one of `roles` as having a bias.
void set_bias(ModelConfig& config, std::initializer_list<Role> roles, bool bias = true);
/// The same as a field says.
void read_bias(const ConfigFields& fields, const char* key, bool fallback,
               std::initializer_list<Role> roles, ModelConfig& config);

/// Both halves read what one norm makes of the block's input, and are added at once.
void share_input_of_halves(ModelConfig& config);

/// Blocks with a window, sliding_window or `fallback`: those that layer_types names, or where that
/// is missing those that `slides` does.
void read_windows(const ConfigFields& fields, std::optional<Index> fallback, ModelConfig& config,
                  pare::FunctionRef<bool(Index block)> slides);

/// Null means none, a missing field `fallback`.
[[nodiscard]] float read_cap(const ConfigFields& fields, const char* key, float fallback);

/// silu, gelu ...; what is unknown cannot be computed.
[[nodiscard]] Activation read_activation(const ConfigFields& fields, const char* key,
                                         const char* fallback, ModelConfig& config);
/// The first layers have no window (use_sliding_window, max_window_layers).
void read_windows_of_last_blocks(const ConfigFields& fields, ModelConfig& config);

}  // namespace engine
