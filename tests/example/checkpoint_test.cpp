#include "engine/checkpoint.hpp"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/tiny_model.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace pare;
using namespace pare::test;

Matrix<float> some_logits(const std::filesystem::path& directory) {
  const engine::Model model = engine::Checkpoint(directory).load();
  const std::vector<std::int32_t> tokens{1, 2, 3, 5, 8, 13, 21, 34};
  return engine::Decoder(model, {}).logits(tokens, 8);
}

}  // namespace

TEST_CASE("checkpoints shaped like those of each family load and run") {
  const TemporaryDirectory directory;
  SECTION("Qwen2: biased queries, keys and values, tied embeddings, BF16") {
    TinyModel model({.tied = true,
                     .biased = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
                     .dtype = DType::BF16});
    model.config["model_type"] = "qwen2";
    model.config.erase("head_dim");
    model.write(directory.path());
    const engine::Model loaded = engine::Checkpoint(directory.path()).load();
    CHECK(loaded.head == nullptr);
    CHECK(loaded.blocks[1][engine::Role::key].bias().size() == 32);
    CHECK(loaded.blocks[1][engine::Role::attention_output].bias().empty());
  }
  SECTION("Mistral: heads wider than hidden / heads, F16") {
    TinyModel model({.heads = 4, .kv_heads = 1, .head_dim = 32, .dtype = DType::F16});
    model.config["model_type"] = "mistral";
    model.config["sliding_window"] = nullptr;
    model.write(directory.path());
    const engine::Model loaded = engine::Checkpoint(directory.path()).load();
    CHECK(loaded.blocks[0][engine::Role::query].out_features() == 128);
    CHECK(loaded.blocks[0][engine::Role::attention_output].in_features() == 128);
  }
  SECTION("SmolLM: three query heads per key-value head, tied, F32") {
    TinyModel model({.hidden = 48, .heads = 3, .kv_heads = 1, .tied = true});
    model.config.erase("head_dim");
    model.write(directory.path());
  }
  require_finite(some_logits(directory.path()).view(), "logits");
}

TEST_CASE("a bias changes what a layer computes") {
  const TemporaryDirectory directory;
  TinyModel model({.biased = {"mlp.down_proj"}});
  model.write(directory / "biased");
  for (const char* layer : {"model.layers.0.", "model.layers.1."})
    model.remove(layer + std::string("mlp.down_proj.bias"));
  model.write(directory / "plain");
  CHECK(relative_difference(some_logits(directory / "biased"), some_logits(directory / "plain")) >
        1e-2);
}

TEST_CASE("shards with an index hold the same model as one file") {
  const TemporaryDirectory directory;
  const TinyModel model;
  model.write(directory / "one");
  model.write_sharded(directory / "three", 3);
  CHECK(bit_differences(some_logits(directory / "one"), some_logits(directory / "three")) == 0);
}

TEST_CASE("tensors that are missing, misshapen or not finite are named when a model is opened") {
  const TemporaryDirectory directory;
  TinyModel model;
  const auto load = [&] {
    model.write(directory / "m");
    (void)engine::Checkpoint(directory / "m").load();
  };
  SECTION("missing") {
    const std::string name =
        GENERATE("model.embed_tokens.weight", "model.norm.weight",
                 "model.layers.1.mlp.down_proj.weight", "model.layers.0.input_layernorm.weight");
    model.remove(name);
    CHECK_THROWS_WITH(load(), ContainsSubstring("model.safetensors: no tensor named \"" + name));
  }
  SECTION("transposed") {
    auto& tensor = model.tensor("model.layers.1.mlp.up_proj.weight");
    std::swap(tensor.shape[0], tensor.shape[1]);
    CHECK_THROWS_WITH(load(), ContainsSubstring("model.layers.1.mlp.up_proj.weight") &&
                                  ContainsSubstring("[64, 96]") && ContainsSubstring("[96, 64]"));
  }
  SECTION("of another rank") {
    model.tensor("model.norm.weight").shape = {64, 1};
    CHECK_THROWS_WITH(load(), ContainsSubstring("model.norm.weight"));
  }
  SECTION("a bias of another length") {
    model.add("model.layers.0.self_attn.q_proj.bias", {63}, 0.0f, 1.0f);
    CHECK_THROWS_WITH(load(), ContainsSubstring("self_attn.q_proj.bias"));
  }
  SECTION("normalized queries") {
    model.add("model.layers.1.self_attn.q_norm.weight", {16}, 1.0f, 0.0f);
    CHECK_THROWS_WITH(load(), ContainsSubstring("layers.1.self_attn.q_norm.weight"));
  }
  SECTION("more layers than there are") {
    model.config["num_hidden_layers"] = 9999;
    CHECK_THROWS_WITH(load(), ContainsSubstring("model.layers.2.input_layernorm.weight"));
  }
  SECTION("huge heads, found before anything is allocated") {
    model.config["head_dim"] = std::int64_t{1} << 31;
    CHECK_THROWS_WITH(load(), ContainsSubstring("self_attn.q_proj.weight"));
  }
  SECTION("integers") {
    auto& tensor = model.tensor("model.norm.weight");
    tensor.dtype = DType::I32;
    CHECK_THROWS_WITH(load(), ContainsSubstring("model.norm.weight") && ContainsSubstring("I32"));
  }
  SECTION("NaN") {
    model.change("model.layers.1.mlp.up_proj.weight",
                 [n = 0](float v) mutable { return n++ == 70 ? std::nanf("") : v; });
    CHECK_THROWS_WITH(load(), ContainsSubstring("model.layers.1.mlp.up_proj.weight holds NaN at "
                                                "[1, 6]"));
  }
  SECTION("infinity in a norm") {
    model.change("model.norm.weight", [](float) { return std::numeric_limits<float>::infinity(); });
    CHECK_THROWS_WITH(load(), ContainsSubstring("model.norm.weight holds infinity"));
  }
}
