#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "cli/options.hpp"
#include "cli/output_directory.hpp"
#include "cli/tokens.hpp"
#include "engine/block_tensors.hpp"
#include "pare/core/random.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_writer.hpp"
#include "pare/version.hpp"

namespace cli {
namespace {

nlohmann::json config_json(const MakeCheckpointCommand& o) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_act", "silu"},
          {"hidden_size", o.hidden},
          {"intermediate_size", o.intermediate},
          {"num_hidden_layers", o.layers},
          {"num_attention_heads", o.heads},
          {"num_key_value_heads", o.kv_heads},
          {"vocab_size", o.vocab},
          {"max_position_embeddings", 2048},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", false},
          {"torch_dtype", o.dtype == "f32"   ? "float32"
                          : o.dtype == "f16" ? "float16"
                                             : "bfloat16"}};
}

nlohmann::json make_manifest(const MakeCheckpointCommand& o, const nlohmann::json& config) {
  return {{"made_by", "make-checkpoint"},
          {"options", {{"config", config}, {"dtype", o.dtype}, {"seed", o.seed}}},
          {"version", pare::version}};
}

/// Weights are normal with standard deviation 0.02, norms are 1.
template <class T>
pare::NamedTensor random_tensor(const std::string& name, std::vector<Index> shape,
                                pare::Random& random) {
  Index size = 1;
  for (const Index extent : shape) size *= extent;
  const bool norm = shape.size() == 1;
  pare::NamedTensor tensor{name, pare::dtype_of<T>(), std::move(shape), {}};
  tensor.data.resize(static_cast<std::size_t>(size) * sizeof(T));
  for (Index i = 0; i < size; ++i) {
    const T value(norm ? 1.0f : 0.02f * random.normal());
    std::memcpy(tensor.data.data() + static_cast<std::size_t>(i) * sizeof(T), &value, sizeof(T));
  }
  return tensor;
}

template <class T>
void write_shards(const MakeCheckpointCommand& o, const engine::ModelConfig& config,
                  OutputDirectory& directory) {
  pare::Random random(o.seed);
  for (Index block = 0; block < o.layers; ++block) {
    std::vector<pare::NamedTensor> tensors;
    for (const auto& [name, size] : engine::norm_shapes(config, block))
      tensors.push_back(random_tensor<T>(name + ".weight", {size}, random));
    for (const auto& linear : config.block(block).linears)
      tensors.push_back(random_tensor<T>(config.block_prefix(block) + linear.name + ".weight",
                                         {linear.shape[0], linear.shape[1]}, random));
    pare::write_safetensors(directory.shard_path(block), tensors);
  }
  std::vector<pare::NamedTensor> rest;
  rest.push_back(random_tensor<T>("model.embed_tokens.weight", {o.vocab, o.hidden}, random));
  rest.push_back(random_tensor<T>("model.norm.weight", {o.hidden}, random));
  rest.push_back(random_tensor<T>("lm_head.weight", {o.vocab, o.hidden}, random));
  pare::write_safetensors(directory.shard_path(o.layers), rest);
}

/// Of the matrices: what else there is is small.
std::uint64_t total_bytes(const MakeCheckpointCommand& o, const engine::ModelConfig& config) {
  Index elements = 2 * o.vocab * o.hidden;
  for (const auto& linear : config.block(0).linears)
    elements += o.layers * linear.shape[0] * linear.shape[1];
  return static_cast<std::uint64_t>(elements) * (o.dtype == "f32" ? 4 : 2);
}

}  // namespace

void make_checkpoint(const MakeCheckpointCommand& o) {
  const nlohmann::json json = config_json(o);
  const engine::ModelConfig config = engine::parse_config(json);
  const OutputPath out(o.out, o.force, {});
  out.warn_if_no_room(total_bytes(o, config));
  OutputDirectory directory(out, make_manifest(o, json), o.layers + 1);
  pare::write_json(directory.file_path("config.json"), json);
  if (o.dtype == "f32")
    write_shards<float>(o, config, directory);
  else if (o.dtype == "f16")
    write_shards<pare::Float16>(o, config, directory);
  else if (o.dtype == "bf16")
    write_shards<pare::BFloat16>(o, config, directory);
  else
    throw pare::ArgumentError("unknown --dtype \"" + o.dtype + "\"; there are f32, f16, bf16");
  pare::Random random(o.seed + 1);
  for (const auto& [name, count] :
       std::map<std::string, std::size_t>{{"calib.npy", 8 * 512}, {"eval.npy", 2 * 512 + 1}}) {
    std::vector<std::int32_t> ids(count);
    for (auto& id : ids)
      id = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(o.vocab)));
    write_token_file(directory.file_path(name), ids);
  }
  directory.finish();
  std::printf("%s: random weights\n", o.out.string().c_str());
}

}  // namespace cli
