#include "engine/families/decoder.hpp"

#include <cmath>
#include <iterator>
#include <string_view>
#include <utility>

#include "engine/forward_limits.hpp"

namespace engine {
namespace {

constexpr std::pair<std::string_view, Activation> activations[]{
    {"silu", Activation::silu},           {"swish", Activation::silu},
    {"gelu", Activation::gelu},           {"gelu_new", Activation::gelu_tanh},
    {"relu", Activation::relu},           {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_tanh},
};

void read_sizes(const ConfigFields& fields, const DecoderDefaults& defaults, ModelConfig& config) {
  const SizeKeys& keys = config.keys = defaults.keys;
  config.keys.kv_heads = defaults.may_group_heads ? "num_key_value_heads" : "";
  config.keys.head_dim = defaults.may_size_heads ? "head_dim" : "";
  config.vocab_size = fields.size("vocab_size");
  config.hidden_size = fields.size(keys.hidden.c_str());
  config.intermediate_size = fields.size(
      keys.intermediate.c_str(),
      defaults.widening ? std::optional(*defaults.widening * config.hidden_size) : std::nullopt);
  config.layers = fields.size(keys.layers.c_str(), {}, most_blocks);
  config.heads = fields.size(keys.heads.c_str());
  // Said to be null it is as many as heads, in every family.
  const bool kv_heads_open = fields.is_missing("num_key_value_heads") && defaults.kv_heads;
  config.kv_heads =
      !defaults.may_group_heads
          ? config.heads
          : fields.size("num_key_value_heads", kv_heads_open ? *defaults.kv_heads : config.heads);
  // Said to be null it is what the sizes give.
  const bool head_dim_open = fields.is_missing("head_dim") && defaults.head_dim;
  if (!fields.has("head_dim") && !head_dim_open && config.hidden_size % config.heads != 0)
    throw pare::FormatError(field(keys.heads) + " is " + std::to_string(config.heads) +
                            ", which does not divide " + keys.hidden + " " +
                            std::to_string(config.hidden_size));
  config.head_dim = fields.size(
      "head_dim", head_dim_open ? *defaults.head_dim : config.hidden_size / config.heads);
  if (config.head_dim % 2 != 0 && defaults.turns)
    throw pare::FormatError(field("head_dim") + " is odd: " + std::to_string(config.head_dim));
  config.max_positions = fields.size(keys.positions.c_str(), defaults.max_positions);
  if (config.heads % config.kv_heads != 0)
    throw pare::FormatError(
        field("num_key_value_heads") + " is " + std::to_string(config.kv_heads) +
        (kv_heads_open ? ", the family's default" : "") + ", which does not divide " + keys.heads +
        " " + std::to_string(config.heads));
}

void read_tokens(const ConfigFields& fields, const DecoderDefaults& defaults, ModelConfig& config) {
  const auto read = [&](const char* key, Index fallback) {
    auto ids = fields.tokens(key, config.vocab_size, config.notices);
    // Bytes have no special tokens unless someone gives them some.
    if (fields.is_missing(key) && fallback >= 0 && fallback < config.vocab_size &&
        !config.is_byte_level())
      ids.push_back(fallback);
    return ids;
  };
  if (const auto begin = read("bos_token_id", defaults.begin_token); !begin.empty())
    config.begin_token = begin.front();
  config.end_tokens = read("eos_token_id", defaults.end_token);
  (void)read("pad_token_id", -1);
}

}  // namespace

float read_cap(const ConfigFields& fields, const char* key, float fallback) {
  if (fields.is_missing(key)) return fallback;
  return fields.has(key) ? fields.positive(key) : 0.0f;
}

Activation read_activation(const ConfigFields& fields, const char* key, const char* fallback,
                           ModelConfig& config) {
  const std::string name = fields.text(key, fallback);
  for (const auto& [known, activation] : activations)
    if (name == known) return activation;
  ForwardLimits(config.not_computed).add(key, "the activation \"" + name + "\"");
  return Activation::silu;
}

LinearDescription make_linear(const std::string& name, Site site, Role role, Index out, Index in) {
  return {.name = name, .site = site, .shape = {out, in}, .parts = {LayerPart::whole(role, out)}};
}

LinearDescription fused_linear(const std::string& name, Site site, Index in,
                               std::initializer_list<std::pair<Role, Index>> parts) {
  LinearDescription linear{.name = name, .site = site, .shape = {0, in}};
  for (const auto& [role, rows] : parts) {
    linear.parts.push_back({role, linear.shape[0], rows});
    linear.shape[0] += rows;
  }
  return linear;
}

std::vector<LinearDescription> attention_linears(const ModelConfig& config,
                                                 const std::string& prefix) {
  const Index hidden = config.hidden_size, q = config.q_size(), kv = config.kv_size();
  return {
      make_linear(prefix + "q_proj", Site::attention_input, Role::query, q, hidden),
      make_linear(prefix + "k_proj", Site::attention_input, Role::key, kv, hidden),
      make_linear(prefix + "v_proj", Site::attention_input, Role::value, kv, hidden),
      make_linear(prefix + "o_proj", Site::attention_output, Role::attention_output, hidden, q)};
}

std::vector<LinearDescription> gated_linears(const ModelConfig& config, const std::string& prefix,
                                             Index hidden) {
  const Index width = config.hidden_size;
  return {make_linear(prefix + "gate_proj", Site::feed_forward_input, Role::gate, hidden, width),
          make_linear(prefix + "up_proj", Site::feed_forward_input, Role::up, hidden, width),
          make_linear(prefix + "down_proj", Site::feed_forward_hidden, Role::down, width, hidden)};
}

std::vector<LinearDescription> plain_linears(const ModelConfig& config, const std::string& up,
                                             const std::string& down) {
  const Index width = config.hidden_size, hidden = config.intermediate_size;
  return {make_linear(up, Site::feed_forward_input, Role::up, hidden, width),
          make_linear(down, Site::feed_forward_hidden, Role::down, width, hidden)};
}

void set_blocks(ModelConfig& config, const BlockDescription& block) {
  config.blocks.assign(static_cast<std::size_t>(config.layers), block);
}

void for_each_block(ModelConfig& config, pare::FunctionRef<void(Index, BlockDescription&)> change) {
  for (Index i = 0; i < config.layers; ++i) change(i, config.blocks[static_cast<std::size_t>(i)]);
}

void set_query_key_norms(ModelConfig& config, QueryKeyNorm kind, const std::string& query,
                         const std::string& key) {
  config.query_key_norm = kind;
  for (BlockDescription& block : config.blocks) {
    block.query_norm = query;
    block.key_norm = key;
  }
}

void set_bias(ModelConfig& config, std::initializer_list<Role> roles, bool bias) {
  for (BlockDescription& block : config.blocks)
    for (const Role role : roles)
      if (const auto found = block.find(role)) block.linears[found->linear].bias = bias;
}

void read_bias(const ConfigFields& fields, const char* key, bool fallback,
               std::initializer_list<Role> roles, ModelConfig& config) {
  set_bias(config, roles, fields.flag(key, fallback));
  for (const Role role : roles) config.keys.biases[role] = key;
}

void read_decoder(const ConfigFields& fields, const DecoderDefaults& defaults,
                  ModelConfig& config) {
  read_sizes(fields, defaults, config);
  config.norm.epsilon = fields.positive(defaults.epsilon_key, defaults.epsilon);
  config.activation = read_activation(fields, defaults.activation_key, defaults.activation, config);
  config.score_scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim));
  config.tied_embeddings = fields.flag("tie_word_embeddings", defaults.tied);
  read_tokens(fields, defaults, config);
  if (defaults.turns && !defaults.ropes_by_type)
    config.ropes.push_back(read_rope(fields, defaults.rope, config));

  BlockDescription block;
  if (!defaults.turns) block.rope.reset();
  block.norm(NormPlace::attention_input) = "input_layernorm";
  block.norm(NormPlace::feed_forward_input) = "post_attention_layernorm";
  block.linears = attention_linears(config, "self_attn.");
  for (auto& linear : gated_linears(config, "mlp.", config.intermediate_size))
    block.linears.push_back(std::move(linear));
  set_blocks(config, block);
}

void share_input_of_halves(ModelConfig& config) {
  config.parallel = true;
  for (BlockDescription& block : config.blocks) {
    block.norm(NormPlace::feed_forward_input).clear();
    for (LinearDescription& linear : block.linears)
      if (linear.site == Site::feed_forward_input) linear.site = Site::attention_input;
  }
}

void read_windows(const ConfigFields& fields, std::optional<Index> fallback, ModelConfig& config,
                  pare::FunctionRef<bool(Index block)> slides) {
  (void)fields.has("sliding_window");
  // Read where a block asks for it: what is not used may be anything.
  const auto window = [&] {
    if (fields.is_missing("sliding_window")) return fallback.value_or(no_window);
    return fields.has("sliding_window") ? fields.size("sliding_window") : no_window;
  };
  if (!fields.has("layer_types")) {
    for_each_block(config, [&](Index i, BlockDescription& block) {
      if (slides(i)) block.window = window();
    });
    return;
  }
  const auto& types = fields.list("layer_types");
  if (std::ssize(types) < config.layers)
    throw pare::FormatError(field("layer_types") + " has " + std::to_string(types.size()) +
                            " types for " + std::to_string(config.layers) + " layers");
  for_each_block(config, [&](Index i, BlockDescription& block) {
    const auto& type = types[static_cast<std::size_t>(i)];
    if (type == "sliding_attention") block.window = window();
    if (type != "sliding_attention" && type != "full_attention")
      ForwardLimits(config.not_computed).add("layer_types", "layers of type " + type.dump());
  });
}

void read_windows_of_last_blocks(const ConfigFields& fields, ModelConfig& config) {
  const bool used = fields.flag("use_sliding_window", false);
  Index first = 28;
  if (fields.has("max_window_layers"))
    first = fields["max_window_layers"] == 0 ? 0 : fields.size("max_window_layers");
  read_windows(fields, 4096, config, [&](Index block) { return used && block >= first; });
}

}  // namespace engine
