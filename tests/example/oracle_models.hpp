#pragma once

#include <filesystem>
#include <string>

namespace pare::test {

/// Random models as transformers saves them, with what it answers (float32, eager attention): one
/// row for each folder of tests/data/models. A new family adds one.
struct OracleModel {
  const char* name;
  const char* family;  ///< model_type
  bool is_encoder = false;
};

inline constexpr OracleModel oracle_models[] = {
    {"bert", "bert", true},
    {"bert_mean", "bert", true},
    {"bert_mlm", "bert", true},
    {"cohere", "cohere"},
    {"deit", "deit", true},
    {"distilbert", "distilbert", true},
    {"gemma", "gemma"},
    {"gemma2", "gemma2"},
    {"gemma3_text", "gemma3_text"},
    {"gpt2", "gpt2"},
    {"gpt_neox", "gpt_neox"},
    {"granite", "granite"},
    {"llama", "llama"},
    {"llama_bias", "llama"},
    {"llama_rope_dynamic", "llama"},
    {"llama_rope_linear", "llama"},
    {"llama_rope_llama3", "llama"},
    {"llama_rope_yarn", "llama"},
    {"llama_rope_yarn_options", "llama"},
    {"mistral", "mistral"},
    {"mixtral", "mixtral"},
    {"olmo2", "olmo2"},
    {"phi", "phi"},
    {"phi3", "phi3"},
    {"phi3_longrope", "phi3"},
    {"qwen2", "qwen2"},
    {"qwen2_moe", "qwen2_moe"},
    {"qwen2_window", "qwen2"},
    {"qwen3", "qwen3"},
    {"qwen3_moe", "qwen3_moe"},
    {"roberta", "roberta", true},
    {"smollm3", "smollm3"},
    {"stablelm", "stablelm"},
    {"stablelm_parallel", "stablelm"},
    {"starcoder2", "starcoder2"},
    {"vit", "vit", true},
};

[[nodiscard]] inline std::filesystem::path directory_of(const OracleModel& model) {
  return std::filesystem::path(PARE_TEST_DATA_DIR) / "models" / model.name;
}

}  // namespace pare::test
