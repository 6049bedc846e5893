#include "engine/families/decoder.hpp"
#include "engine/families/list.hpp"

namespace engine {

/// Jiang et al., "Mistral 7B", 2023: LLaMA with a window in every block.
const Family mistral{
    "mistral", "Mistral", [](const ConfigFields& fields, ModelConfig& config) {
      read_decoder(fields,
                   {.kv_heads = 8, .max_positions = 131072, .begin_token = 1, .end_token = 2},
                   config);
      read_windows(fields, 4096, config, [](Index) { return true; });
    }};

}  // namespace engine
