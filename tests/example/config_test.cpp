#include "engine/config.hpp"

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "engine/checkpoint.hpp"
#include "support/catch.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
using nlohmann::json;

json llama() { return TinyModel().config; }

json changed(json config, const json& changes) {
  config.update(changes);
  return config;
}

}  // namespace

TEST_CASE("configurations of the supported families are read") {
  SECTION("Mistral") {
    const auto c = engine::parse_config(changed(llama(), {{"model_type", "mistral"},
                                                          {"num_key_value_heads", 1},
                                                          {"max_position_embeddings", 4096},
                                                          {"sliding_window", 4096},
                                                          {"rope_theta", 1000000.0}}));
    CHECK(c.kv_heads == 1);
    CHECK(c.max_positions == 4096);
    CHECK(c.ropes.front().theta == 1e6f);
  }
  SECTION("Qwen2 states a window it does not use") {
    const auto c = engine::parse_config(changed(llama(), {{"model_type", "qwen2"},
                                                          {"sliding_window", 8},
                                                          {"max_window_layers", 21},
                                                          {"use_sliding_window", false},
                                                          {"tie_word_embeddings", true}}));
    CHECK(c.tied_embeddings);
  }
  SECTION("SmolLM has no default rope scaling, and ties its embeddings") {
    const auto c = engine::parse_config(
        changed(llama(), {{"rope_scaling", nullptr}, {"tie_word_embeddings", true}}));
    CHECK(c.tied_embeddings);
  }
  SECTION("what may be missing, or null") {
    json config = llama();
    for (const char* key : {"num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta",
                            "tie_word_embeddings", "max_position_embeddings", "hidden_act"})
      SECTION(key) {
        const bool null = GENERATE(false, true);
        if (null)
          config[key] = nullptr;
        else
          config.erase(key);
        const auto c = engine::parse_config(config);
        CHECK(c.head_dim == 16);
        CHECK(c.kv_heads == (key == std::string("num_key_value_heads") ? 4 : 2));
        CHECK_FALSE(c.tied_embeddings);
      }
  }
  SECTION("rope parameters as newer versions write them") {
    const auto c = engine::parse_config(changed(
        llama(), {{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 500000.0}}}}));
    CHECK(c.ropes.front().theta == 5e5f);
  }
}

TEST_CASE("what a family leaves unsaid has the values of its family") {
  const struct {
    const char* family;
    Index kv_heads, max_positions, sliding_window, begin;
    std::vector<Index> ends;
    bool attention_bias;
  } cases[] = {
      {"llama", 16, 2048, std::numeric_limits<Index>::max(), 1, {2}, false},
      {"mistral", 8, 131072, 4096, 1, {2}, false},
      {"qwen2", 32, 32768, std::numeric_limits<Index>::max(), -1, {}, true},
  };
  for (const auto& c : cases) {
    CAPTURE(c.family);
    json config = changed(llama(), {{"model_type", c.family},
                                    {"vocab_size", 300},
                                    {"num_attention_heads", c.kv_heads == 32 ? 32 : 16}});
    for (const char* key : {"num_key_value_heads", "max_position_embeddings", "rms_norm_eps",
                            "rope_theta", "tie_word_embeddings"})
      config.erase(key);
    const auto check = [&](const engine::ModelConfig& read) {
      CHECK(read.kv_heads == c.kv_heads);
      CHECK(read.max_positions == c.max_positions);
      for (const auto& block : read.blocks) CHECK(block.window == c.sliding_window);
      CHECK(read.begin_token == c.begin);
      CHECK(read.end_tokens == c.ends);
      CHECK(read.blocks[1].linears[0].bias == c.attention_bias);
      CHECK(read.norm.epsilon == 1e-6f);
      CHECK(read.ropes.front().theta == 10000.0f);
      CHECK_FALSE(read.tied_embeddings);
    };
    check(engine::parse_config(config));
    config["architectures"] = {std::string(1, static_cast<char>(c.family[0] - 32)) +
                               std::string(c.family).substr(1) + "ForCausalLM"};
    config.erase("model_type");
    check(engine::parse_config(config));
    config["num_key_value_heads"] = nullptr;
    CHECK(engine::parse_config(config).kv_heads == config["num_attention_heads"]);
  }
}

TEST_CASE("tokens are a number or a list, and those outside the vocabulary are noted") {
  const struct {
    json value;
    std::vector<Index> ends;
    std::size_t notices;
  } cases[] = {
      {7, {7}, 0},  {json::array({7, 193}), {7, 193}, 0}, {nullptr, {}, 0},      {-1, {}, 0},
      {256, {}, 1}, {json::array({300, 9}), {9}, 1},      {json::array(), {}, 0}};
  for (const auto& c : cases) {
    CAPTURE(c.value.dump());
    const auto config = engine::parse_config(changed(llama(), {{"eos_token_id", c.value}}));
    CHECK(config.end_tokens == c.ends);
    CHECK(config.notices.size() == c.notices);
  }
  for (const json& bad : {json("</s>"), json(2.5), json::array({"x"})})
    CHECK_THROWS_WITH(engine::parse_config(changed(llama(), {{"eos_token_id", bad}})),
                      ContainsSubstring("\"eos_token_id\""));
  CHECK(engine::parse_config(changed(llama(), {{"bos_token_id", 256}})).begin_token == -1);
}

TEST_CASE("what would be computed wrongly is refused by field when a model runs, not before") {
  const struct {
    const char* field;
    json value;
  } cases[] = {
      {"hidden_act", "mish"},
      {"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}},
      {"rope_parameters", {{"rope_type", "yarn"}}},
      {"rope_parameters", {{"partial_rotary_factor", 0.5}}},
      {"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}},
      {"layer_types", {"full_attention", "linear_attention"}},
      {"qk_norm", true},
      {"partial_rotary_factor", 0.5},
      {"num_local_experts", 8},
      {"num_experts", 60},
      {"n_routed_experts", 64},
      {"attn_logit_softcapping", 50.0},
      {"residual_multiplier", 0.22},
      {"no_rope_layers", {1, 0}},
      {"layer_types", "full_attention"},
      {"alibi", true},
  };
  for (const auto& c : cases) {
    CAPTURE(c.field, c.value.dump());
    const auto config = engine::parse_config(changed(llama(), {{c.field, c.value}}));
    CHECK_THROWS_AS(config.require_forward(), FormatError);
    CHECK_THROWS_WITH(config.require_forward(),
                      ContainsSubstring(std::string("\"") + c.field + "\""));
  }
}

TEST_CASE("fields that change nothing are let pass") {
  const json cases[] = {
      {{"rope_parameters", {{"rope_type", "default"}, {"partial_rotary_factor", 1.0}}}},
      {{"rope_scaling", {{"type", "linear"}, {"factor", 1.0}}}},
      {{"rope_scaling", {{"type", "linear"}, {"factor", 1}}}},
      {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 1.0}, {"attention_factor", 1.0}}}},
      {{"rope_scaling", {{"rope_type", "default"}, {"original_max_position_embeddings", 256}}}},
      {{"rope_scaling", json::object()}},
      {{"partial_rotary_factor", 1}},
      {{"model_type", "qwen2"}, {"use_sliding_window", true}, {"sliding_window", 4}},
      {{"layer_types", {"full_attention", "full_attention"}}, {"sliding_window", 4}},
      {{"sliding_window", 8}, {"use_sliding_window", false}},
      {{"num_experts", 1}},
  };
  for (const json& changes : cases) {
    CAPTURE(changes.dump());
    const auto config = engine::parse_config(changed(llama(), changes));
    CHECK_NOTHROW(config.require_forward());
    CHECK(config.notices.empty());
  }
  const auto differing = engine::parse_config(
      changed(llama(), {{"rope_theta", 1e4}, {"rope_parameters", {{"rope_theta", 5e5}}}}));
  CHECK(differing.ropes.front().theta == 5e5f);
  CHECK(differing.notices.size() == 1);
}

TEST_CASE("a configuration that no command can follow is refused by field") {
  const struct {
    const char* field;
    json value;
  } cases[] = {
      {"model_type", "falcon"},
      {"model_type", "deepseek_v3"},
      {"model_type", 3},
      {"rope_scaling", {{"rope_type", 3}}},
      {"rope_scaling", "linear"},
      {"tie_word_embeddings", 1},
      {"tie_word_embeddings", "true"},
      {"rope_parameters", json::array()},
  };
  for (const auto& c : cases) {
    CAPTURE(c.field, c.value.dump());
    const json config = changed(llama(), {{c.field, c.value}});
    CHECK_THROWS_WITH(engine::parse_config(config), ContainsSubstring(std::string("\"") + c.field));
    CHECK_THROWS_AS(engine::parse_config(config), FormatError);
  }
}

TEST_CASE("fields of some families that are of another type are refused by field") {
  const struct {
    const char* family;
    const char* field;
    json value;
  } cases[] = {
      {"mistral", "layer_types", 3},         {"gemma3_text", "layer_types", "x"},
      {"qwen3_moe", "mlp_only_layers", "x"}, {"smollm3", "no_rope_layers", {"x", 1}},
      {"gemma", "hidden_activation", 3},
  };
  for (const auto& c : cases) {
    CAPTURE(c.family, c.field);
    CHECK_THROWS_WITH(
        engine::parse_config(changed(llama(), {{"model_type", c.family}, {c.field, c.value}})),
        ContainsSubstring(std::string("\"") + c.field + "\""));
  }
}

TEST_CASE("gemma follows its activation, and takes gelu for its approximation") {
  const auto parse = [](const json& fields) {
    return engine::parse_config(changed(changed(llama(), {{"model_type", "gemma"}}), fields));
  };
  for (const char* name : {"gelu", "gelu_pytorch_tanh"})
    CHECK(parse({{"hidden_act", name}}).activation == engine::Activation::gelu_tanh);
  CHECK(parse({{"hidden_act", "relu"}}).activation == engine::Activation::relu);
  CHECK_NOTHROW(parse({{"hidden_activation", nullptr}}).require_forward());
  CHECK_THROWS_WITH(
      parse({{"hidden_act", "gelu"}, {"hidden_activation", "relu"}}).require_forward(),
      ContainsSubstring("\"hidden_activation\""));
}

TEST_CASE("families without grouped heads do not ask for them") {
  const json neox = changed(llama(), {{"model_type", "gpt_neox"}, {"num_key_value_heads", 1}});
  const auto config = engine::parse_config(neox);
  CHECK(config.kv_heads == config.heads);
}

TEST_CASE("a missing or absurd number is refused by field") {
  const json absurd[] = {0,
                         -1,
                         -64,
                         "64",
                         1e30,
                         64.5,
                         json::array(),
                         json::object(),
                         true,
                         (std::uint64_t{1} << 31) + 1,
                         std::numeric_limits<std::uint64_t>::max()};
  for (const char* field :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"})
    for (const json& value : absurd) {
      CAPTURE(field, value.dump());
      CHECK_THROWS_WITH(engine::parse_config(changed(llama(), {{field, value}})),
                        ContainsSubstring(std::string("\"") + field + "\""));
    }
  for (const char* field : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                            "num_attention_heads"})
    for (const bool null : {false, true}) {
      CAPTURE(field, null);
      json config = llama();
      if (null)
        config[field] = nullptr;
      else
        config.erase(field);
      CHECK_THROWS_WITH(engine::parse_config(config),
                        ContainsSubstring(std::string("\"") + field + "\" is missing"));
    }
  for (const char* field : {"rms_norm_eps", "rope_theta"})
    for (const json& value : {json(0), json(-1.0), json("1e-5"), json(1e300), json(1e-300)}) {
      CAPTURE(field, value.dump());
      CHECK_THROWS_WITH(engine::parse_config(changed(llama(), {{field, value}})),
                        ContainsSubstring(std::string("\"") + field + "\""));
    }
}

TEST_CASE("numbers that contradict each other are refused") {
  CHECK_THROWS_WITH(engine::parse_config(changed(llama(), {{"num_hidden_layers", 10001}})),
                    ContainsSubstring("\"num_hidden_layers\" is 10001"));
  CHECK_THROWS_WITH(engine::parse_config(changed(llama(), {{"num_key_value_heads", 3}})),
                    ContainsSubstring("\"num_key_value_heads\" is 3"));
  CHECK_THROWS_WITH(engine::parse_config(changed(llama(), {{"head_dim", 15}})),
                    ContainsSubstring("\"head_dim\" is odd"));
  CHECK_THROWS_WITH(
      engine::parse_config(changed(llama(), {{"head_dim", nullptr}, {"num_attention_heads", 5}})),
      ContainsSubstring("\"num_attention_heads\" is 5"));
  CHECK_THROWS_AS(engine::parse_config(json::array()), FormatError);
}
