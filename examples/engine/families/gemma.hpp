#pragma once

#include "engine/families/decoder.hpp"

namespace engine {

/// What all Gemma models have in common: norms that multiply by 1 + w, scaled embeddings.
void read_gemma(const ConfigFields& fields, const DecoderDefaults& defaults, ModelConfig& config);

/// Those from the second on: norms around both halves, and scores scaled by a field.
void read_gemma_of_four_norms(const ConfigFields& fields, const DecoderDefaults& defaults,
                              ModelConfig& config);

}  // namespace engine
