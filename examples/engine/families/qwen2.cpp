#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Yang et al., "Qwen2 Technical Report", 2024: LLaMA with biases of queries, keys and values; the
/// last blocks may have a window.
const Family qwen2{"qwen2", "Qwen2", [](const ConfigFields& fields, ModelConfig& config) {
                     read_decoder(fields, {.kv_heads = 32, .max_positions = 32768}, config);
                     set_bias(config, {Role::query, Role::key, Role::value});
                     read_windows_of_last_blocks(fields, config);
                   }};

}  // namespace engine
