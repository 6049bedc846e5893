#include "engine/config.hpp"

#include <algorithm>
#include <string_view>

#include "engine/config_fields.hpp"
#include "engine/families/family.hpp"
#include "engine/forward_limits.hpp"

namespace engine {
namespace {

std::string known_families() {
  std::string names;
  for (const Family* family : families())
    names += (names.empty() ? "" : ", ") + std::string(family->model_type);
  return names;
}

/// What the family is looked up by.
struct FamilyKey {
  const char* field;
  nlohmann::json value;
};

/// model_type, else the first of the architectures; nothing where neither is said.
std::optional<FamilyKey> family_key(const ConfigFields& fields) {
  if (fields.has("model_type")) return FamilyKey{"model_type", fields["model_type"]};
  if (fields.has("architectures") && fields["architectures"].is_array() &&
      !fields["architectures"].empty())
    return FamilyKey{"architectures", fields["architectures"][0]};
  return std::nullopt;
}

/// LLaMA's where nothing is said; null where what is said is not known.
const Family* find_family(const std::optional<FamilyKey>& key) {
  const std::string name = !key                     ? "llama"
                           : key->value.is_string() ? key->value.get<std::string>()
                                                    : std::string();
  for (const Family* family : families()) {
    const std::string prefix(family->class_prefix);
    const bool is_class = name == prefix + "Model" || name.starts_with(prefix + "For") ||
                          name.starts_with(prefix + "LMHead");
    const bool by_class = key && key->field == std::string_view("architectures");
    if (by_class ? is_class : name == family->model_type) return family;
  }
  return nullptr;
}

const Family& family_of(const ConfigFields& fields) {
  const auto key = family_key(fields);
  if (const Family* family = find_family(key)) return *family;
  throw pare::FormatError(field(key->field) + " asks for the architecture " + key->value.dump() +
                          ", which this engine does not know; it knows " + known_families() +
                          "; of others inspect and quantize --method rtn work");
}

/// A field that changes what some families compute, and the values that change nothing.
struct Effect {
  const char* key;
  const char* what;
  bool (*is_neutral)(const nlohmann::json&);
};

bool is_false(const nlohmann::json& v) { return v == false; }
bool is_one(const nlohmann::json& v) { return v == 1; }
bool is_at_most_one(const nlohmann::json& v) { return v == 0 || v == 1; }
bool is_nothing(const nlohmann::json&) { return false; }

constexpr Effect effects[] = {
    {"add_cross_attention", "attention to another text", is_false},
    {"alibi", "positions added to scores", is_false},
    {"attention_chunk_size", "attention in pieces", is_nothing},
    {"attention_multiplier", "scaled scores", is_nothing},
    {"attn_logit_softcapping", "capped scores", is_nothing},
    {"clip_qkv", "clipped queries and keys", is_nothing},
    {"embedding_multiplier", "scaled embeddings", is_one},
    {"final_logit_softcapping", "capped logits", is_nothing},
    {"is_decoder", "a decoder", is_false},
    {"kv_lora_rank", "compressed keys and values", is_nothing},
    {"layer_types", "layers of several kinds",
     [](const nlohmann::json& v) {
       return v.is_array() && std::all_of(v.begin(), v.end(), [](const nlohmann::json& type) {
                return type == "full_attention";
              });
     }},
    {"logit_scale", "scaled logits", is_one},
    {"logits_scaling", "scaled logits", is_one},
    {"no_rope_layers", "layers without rotation",
     [](const nlohmann::json& v) {
       return v.is_array() && std::find(v.begin(), v.end(), 0) == v.end();
     }},
    {"num_experts", "a mixture of experts", is_at_most_one},
    {"num_local_experts", "a mixture of experts", is_at_most_one},
    {"n_routed_experts", "a mixture of experts", is_at_most_one},
    {"partial_rotary_factor", "rotating a part of each head", is_one},
    {"position_embedding_type", "another kind of positions",
     [](const nlohmann::json& v) { return v == "absolute" || v == "rope"; }},
    {"qk_layernorm", "normalized queries and keys", is_false},
    {"qk_norm", "normalized queries and keys", is_false},
    {"query_pre_attn_scalar", "scaled scores", is_nothing},
    {"residual_multiplier", "scaled halves of blocks", is_one},
    {"rotary_pct", "rotating a part of each head", is_one},
    {"scale_attn_by_inverse_layer_idx", "scores that each block scales", is_false},
    {"use_bidirectional_attention", "attention to the positions that follow", is_false},
    {"use_parallel_residual", "both halves of a block at once", is_false},
    {"use_qk_norm", "normalized queries and keys", is_false},
};

/// A window that no model of the family has.
void note_window(const ConfigFields& fields, ModelConfig& config) {
  if (fields.was_asked_for("sliding_window") || !fields.has("sliding_window")) return;
  if (fields.flag("use_sliding_window", true) && !fields.has("layer_types"))
    config.notices.push_back("sliding_window is " + fields["sliding_window"].dump() + ", but " +
                             config.family + " models see all positions, and so does this one");
}

/// The sizes that configurations give apart must be those of the layers: a pass over the model
/// trusts them.
void require_whole_layers(const ModelConfig& config) {
  for (const BlockDescription& block : config.blocks)
    for (const LinearDescription& linear : block.linears) {
      Index rows = 0;
      for (const LayerPart& part : linear.parts) {
        const Index wanted = part.role == Role::query                             ? config.q_size()
                             : part.role == Role::key || part.role == Role::value ? config.kv_size()
                                                                                  : part.rows();
        rows += part.rows() == wanted ? wanted : linear.shape[0] + 1;
      }
      if (rows != linear.shape[0])
        throw pare::FormatError("the sizes of heads do not fit " + linear.name + " of shape " +
                                pare::to_string(linear.shape));
    }
}

/// Fields that would change the result and that the family did not ask for.
void refuse_unfollowed(const ConfigFields& fields, ModelConfig& config) {
  for (const Effect& effect : effects) {
    if (fields.was_asked_for(effect.key) || !fields.has(effect.key)) continue;
    if (!effect.is_neutral(fields[effect.key]))
      ForwardLimits(config.not_computed).add(effect.key, effect.what);
  }
}

}  // namespace

std::string ModelConfig::input_name(Index block, Site site) const {
  const BlockDescription& description = this->block(block);
  for (std::size_t i = 0; i < description.linears.size(); ++i)
    if (description.linears[i].site == site) return "input of " + linear_name(block, i);
  return "activations of " + block_prefix(block);
}

void ModelConfig::require_forward() const {
  if (!not_computed.empty())
    throw pare::FormatError(not_computed + "; inspect and quantize --method rtn need none of it");
}

bool is_known_family(const nlohmann::json& json) {
  return json.is_object() && find_family(family_key(ConfigFields(json))) != nullptr;
}

ModelConfig parse_config(const nlohmann::json& json) {
  if (!json.is_object()) throw pare::FormatError("the file is not a JSON object");
  const ConfigFields fields(json);
  const Family& family = family_of(fields);
  ModelConfig config;
  config.family = family.model_type;
  family.describe(fields, config);
  require_whole_layers(config);
  refuse_unfollowed(fields, config);
  note_window(fields, config);
  return config;
}

}  // namespace engine
