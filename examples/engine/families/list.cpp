#include "engine/families/list.hpp"

namespace engine {

std::span<const Family* const> families() {
  static constexpr const Family* all[] = {
      &bert,    &cohere,   &deit,       &distilbert, &gemma,   &gemma2,    &gemma3_text,
      &gpt2,    &gpt_neox, &granite,    &llama,      &mistral, &mixtral,   &olmo2,
      &phi,     &phi3,     &qwen2,      &qwen2_moe,  &qwen3,   &qwen3_moe, &roberta,
      &smollm3, &stablelm, &starcoder2, &vit};
  return all;
}

}  // namespace engine
