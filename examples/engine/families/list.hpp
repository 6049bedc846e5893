#pragma once

#include "engine/families/family.hpp"

namespace engine {

extern const Family bert, cohere, deit, distilbert, gemma, gemma2, gemma3_text, gpt2, gpt_neox,
    granite, llama, mistral, olmo2, phi, phi3, qwen2, qwen3, roberta, smollm3, stablelm, starcoder2,
    vit;

}  // namespace engine
