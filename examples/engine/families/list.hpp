#pragma once

#include "engine/families/family.hpp"

namespace engine {

extern const Family bert, cohere, deit, distilbert, gemma, gemma2, gemma3_text, gpt2, gpt_neox,
    granite, llama, mistral, mixtral, olmo2, phi, phi3, qwen2, qwen2_moe, qwen3, qwen3_moe, roberta,
    smollm3, stablelm, starcoder2, vit;

}  // namespace engine
