#include "engine/config.hpp"

#include <optional>
#include <string>

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
    CHECK(c.rope_theta == 1e6f);
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
    CHECK(c.rope_theta == 5e5f);
  }
}

TEST_CASE("a configuration the engine would compute wrongly is refused by field") {
  const struct {
    const char* field;
    json value;
  } cases[] = {
      {"model_type", "gpt2"},
      {"model_type", "qwen3"},
      {"model_type", 3},
      {"hidden_act", "gelu"},
      {"hidden_act", "relu"},
      {"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}},
      {"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}},
      {"rope_scaling", {{"rope_type", 3}}},
      {"rope_scaling", "linear"},
      {"rope_parameters", {{"rope_type", "yarn"}}},
      {"sliding_window", 16},
      {"sliding_window", "wide"},
      {"use_sliding_window", "yes"},
      {"num_local_experts", 8},
      {"num_experts", 60},
      {"n_routed_experts", 64},
      {"qk_norm", true},
      {"qk_norm", "yes"},
      {"partial_rotary_factor", 0.5},
      {"tie_word_embeddings", 1},
      {"tie_word_embeddings", "true"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.field, c.value.dump());
    json config = changed(llama(), {{c.field, c.value}});
    if (c.field == std::string("use_sliding_window")) config["sliding_window"] = 16;
    CHECK_THROWS_WITH(engine::parse_config(config), ContainsSubstring(std::string("\"") + c.field));
    CHECK_THROWS_AS(engine::parse_config(config), FormatError);
  }
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
  CHECK_THROWS_WITH(engine::parse_config(changed(llama(), {{"num_key_value_heads", 3}})),
                    ContainsSubstring("\"num_key_value_heads\" is 3"));
  CHECK_THROWS_WITH(engine::parse_config(changed(llama(), {{"head_dim", 15}})),
                    ContainsSubstring("\"head_dim\" is odd"));
  CHECK_THROWS_WITH(
      engine::parse_config(changed(llama(), {{"head_dim", nullptr}, {"num_attention_heads", 5}})),
      ContainsSubstring("\"num_attention_heads\" is 5"));
  CHECK_THROWS_AS(engine::parse_config(json::array()), FormatError);
}
