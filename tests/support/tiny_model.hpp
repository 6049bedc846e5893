#pragma once

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "pare/core/float16.hpp"
#include "pare/core/random.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_writer.hpp"
#include "support/temporary_directory.hpp"

namespace pare::test {

struct TinyModelOptions {
  Index layers = 2, hidden = 64, intermediate = 96, heads = 4, kv_heads = 2, head_dim = 16;
  Index vocab = 256, context = 32;
  bool tied = false;
  std::vector<std::string> biased{};  ///< layers with a bias, like "self_attn.q_proj"
  DType dtype = DType::F32;
};

/// A small random decoder of the LLaMA family, to be changed and written by a test.
struct TinyModel {
  nlohmann::json config;
  std::vector<NamedTensor> tensors;

  explicit TinyModel(const TinyModelOptions& o = {}) : dtype_(o.dtype) {
    config = {{"model_type", "llama"},
              {"hidden_act", "silu"},
              {"vocab_size", o.vocab},
              {"hidden_size", o.hidden},
              {"intermediate_size", o.intermediate},
              {"num_hidden_layers", o.layers},
              {"num_attention_heads", o.heads},
              {"num_key_value_heads", o.kv_heads},
              {"head_dim", o.head_dim},
              {"max_position_embeddings", o.context},
              {"rms_norm_eps", 1e-5},
              {"rope_theta", 10000.0},
              {"tie_word_embeddings", o.tied}};
    const Index q = o.heads * o.head_dim, kv = o.kv_heads * o.head_dim;
    const std::pair<const char*, Shape<2>> linears[]{
        {"self_attn.q_proj", {q, o.hidden}},           {"self_attn.k_proj", {kv, o.hidden}},
        {"self_attn.v_proj", {kv, o.hidden}},          {"self_attn.o_proj", {o.hidden, q}},
        {"mlp.gate_proj", {o.intermediate, o.hidden}}, {"mlp.up_proj", {o.intermediate, o.hidden}},
        {"mlp.down_proj", {o.hidden, o.intermediate}}};
    add("model.embed_tokens.weight", {o.vocab, o.hidden}, 0.0f, 1.0f);
    for (Index i = 0; i < o.layers; ++i) {
      const std::string prefix = "model.layers." + std::to_string(i) + ".";
      add(prefix + "input_layernorm.weight", {o.hidden}, 1.0f, 0.2f);
      add(prefix + "post_attention_layernorm.weight", {o.hidden}, 1.0f, 0.2f);
      for (const auto& [name, shape] : linears) {
        add(prefix + name + ".weight", {shape[0], shape[1]}, 0.0f, 0.12f);
        for (const std::string& biased : o.biased)
          if (biased == name) add(prefix + name + ".bias", {shape[0]}, 0.0f, 0.3f);
      }
    }
    add("model.norm.weight", {o.hidden}, 1.0f, 0.2f);
    if (!o.tied) add("lm_head.weight", {o.vocab, o.hidden}, 0.0f, 0.2f);
  }

  /// Adds a tensor of normal numbers.
  void add(const std::string& name, std::vector<Index> shape, float mean, float deviation) {
    Index size = 1;
    for (const Index extent : shape) size *= extent;
    tensors.push_back({name, dtype_, std::move(shape), {}});
    for (Index i = 0; i < size; ++i) append(tensors.back(), mean + deviation * random_.normal());
  }

  [[nodiscard]] NamedTensor& tensor(const std::string& name) {
    for (auto& tensor : tensors)
      if (tensor.name == name) return tensor;
    throw std::logic_error("no tensor " + name);
  }
  /// Replaces every element by f(element); F32 only.
  template <class F>
  void change(const std::string& name, F&& f) {
    auto& data = tensor(name).data;
    for (std::size_t at = 0; at < data.size(); at += sizeof(float)) {
      float value;
      std::memcpy(&value, &data[at], sizeof value);
      value = f(value);
      std::memcpy(&data[at], &value, sizeof value);
    }
  }
  void remove(const std::string& name) {
    std::erase_if(tensors, [&](const NamedTensor& tensor) { return tensor.name == name; });
  }

  /// As model.safetensors, with texts of the demo model beside it: 16 windows to calibrate on, and
  /// 8 to evaluate, of 32 bytes each.
  void write(const std::filesystem::path& directory) const {
    write_files(directory);
    write_safetensors(directory / "model.safetensors", tensors);
  }
  /// The same tensors in `shards` files with an index.
  void write_sharded(const std::filesystem::path& directory, std::size_t shards) const {
    write_files(directory);
    nlohmann::json map;
    for (std::size_t shard = 0; shard < shards; ++shard) {
      const std::string file = "part-" + std::to_string(shard) + ".safetensors";
      std::vector<NamedTensor> part;
      for (std::size_t i = shard; i < tensors.size(); i += shards) {
        part.push_back(tensors[i]);
        map[tensors[i].name] = file;
      }
      write_safetensors(directory / file, part);
    }
    write_json(directory / "model.safetensors.index.json", {{"weight_map", map}});
  }

 private:
  void append(NamedTensor& tensor, float value) const {
    const auto store = [&](const auto& stored) {
      const auto bytes = std::as_bytes(std::span(&stored, 1));
      tensor.data.insert(tensor.data.end(), bytes.begin(), bytes.end());
    };
    if (tensor.dtype == DType::F16)
      store(Float16(value));
    else if (tensor.dtype == DType::BF16)
      store(BFloat16(value));
    else
      store(value);
  }
  void write_files(const std::filesystem::path& directory) const {
    std::filesystem::create_directories(directory);
    write_json(directory / "config.json", config);
    const std::filesystem::path demo = PARE_DEMO_MODEL_DIR;
    write_text(directory / "calib.txt", read_text(demo / "calib.txt").substr(0, 16 * 32));
    write_text(directory / "eval.txt", read_text(demo / "eval.txt").substr(0, 8 * 32 + 1));
  }

  DType dtype_;
  Random random_{7};
};

}  // namespace pare::test
