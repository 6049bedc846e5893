#include "pare/io/quantization_config.hpp"

#include <regex>
#include <string>
#include <vector>

#include "pare/io/awq_checkpoint.hpp"
#include "pare/io/gptq_config.hpp"
#include "pare/io/gptq_layer_config.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using Catch::Matchers::Contains;

TEST_CASE("settings are found where tools leave them, config.json first", "[quantization_config]") {
  const test::TemporaryDirectory directory;
  const auto found = [&] { return find_quantization_config(directory.path()); };
  CHECK_FALSE(found().has_value());
  write_json(directory / "config.json", {{"hidden_size", 4}});
  CHECK_FALSE(found().has_value());
  write_json(directory / "quant_config.json", {{"bits", 2}});
  CHECK(found()->settings.at("bits") == 2);
  CHECK(found()->file == directory / "quant_config.json");
  write_json(directory / "quantize_config.json", {{"bits", 3}});
  CHECK(found()->settings.at("bits") == 3);
  REQUIRE(found()->notices.size() == 1);
  CHECK_THAT(found()->notices[0], Contains("quant_config.json says bits 2, quantize_config.json"));
  write_json(directory / "config.json", {{"quantization_config", {{"bits", 4}}}});
  CHECK(found()->settings.at("bits") == 4);
  CHECK(found()->file == directory / "config.json");
  CHECK(found()->notices.size() == 2);
  test::write_text(directory / "quantize_config.json", "[");
  CHECK_THROWS_WITH(found(), Contains("quantize_config.json: no valid JSON"));
  test::write_text(directory / "quantize_config.json", "[]");
  CHECK_THROWS_WITH(found(), Contains("quantize_config.json: the settings are not a JSON object"));
}

TEST_CASE("a second settings file adds what the first leaves open, contradictions are noted",
          "[quantization_config]") {
  struct Case {
    std::string first, second, settings;
    std::vector<std::string> notices;  // what each contains
  };
  const Case cases[] = {
      {R"({"bits":4,"quant_method":"gptq"})",
       R"({"bits":4,"group_size":32})",
       R"({"bits":4,"quant_method":"gptq","group_size":32})",
       {}},
      {R"({"bits":4})",
       R"({"checkpoint_format":"gptq_v2"})",
       R"({"bits":4,"checkpoint_format":"gptq_v2"})",
       {}},
      {R"({"bits":4,"sym":true})",
       R"({"bits":8,"sym":false,"damp_percent":0.1})",
       R"({"bits":4,"sym":true})",
       {"bits 8", "sym false"}},
      {R"({"bits":4,"group_size":64})",
       R"({"w_bit":4,"q_group_size":32})",
       R"({"bits":4,"group_size":64})",
       {"group_size 32"}},
      {R"({"bits":4,"quant_method":"gptq"})",
       R"({"w_bit":4,"version":"gemm","zero_point":true})",
       R"({"bits":4,"quant_method":"gptq"})",
       {"quant_method \"awq\""}},
      {R"({"bits":4})",
       R"({"model_file_base_name":"w"})",
       R"({"bits":4,"model_file_base_name":"w"})",
       {}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.first, c.second);
    const test::TemporaryDirectory directory;
    write_json(directory / "config.json", {{"quantization_config", parse_json(c.first)}});
    write_json(directory / "quantize_config.json", parse_json(c.second));
    const auto found = find_quantization_config(directory.path());
    CHECK(found->settings == parse_json(c.settings));
    REQUIRE(found->notices.size() == c.notices.size());
    for (std::size_t i = 0; i < c.notices.size(); ++i)
      CHECK_THAT(found->notices[i], Contains(c.notices[i]) && Contains("which is followed"));
  }
}

TEST_CASE("settings of other tools are told apart, named or not", "[quantization_config]") {
  struct Case {
    std::string json, method;
  };
  const Case cases[] = {
      {R"({"quant_method":"bitsandbytes","load_in_4bit":true})", "bitsandbytes"},
      {R"({"load_in_8bit":true,"llm_int8_threshold":6.0})", "bitsandbytes"},
      {R"({"config_groups":{},"ignore":["lm_head"]})", "compressed-tensors"},
      {R"({"activation_scheme":"dynamic","weight_block_size":[128,128]})", "fp8"},
      {R"({"quant_algo":"FP8"})", "modelopt"},
      {R"({"quant_method":"mxfp4"})", "mxfp4"},
      {R"({"quant_method":"hqq"})", "hqq"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.json);
    CHECK(quantization_method(parse_json(c.json)) == c.method);
  }
}

TEST_CASE("settings of single layers override those of the checkpoint", "[quantization_config]") {
  const auto config = GptqConfig::from_json(parse_json(
      R"({"bits":4,"group_size":128,"sym":true,"dynamic":{
          "-:lm_head":{}, "+:model\\.layers\\.0\\.mlp\\.down_proj":{"bits":8,"group_size":32},
          ".*\\.q_proj":{"sym":false,"desc_act":true}, "q_proj":{"bits":2}}})"));
  const auto matches = [](const std::string& pattern, const std::string& layer) {
    return std::regex_search(layer, std::regex(pattern), std::regex_constants::match_continuous);
  };
  REQUIRE(config.dynamic.size() == 4);
  CHECK(GptqConfig::from_json(config.to_json()) == config);
  const auto of = [&](const char* layer) { return gptq_layer_config(config, layer, matches); };
  CHECK(of("model.layers.0.mlp.down_proj") == GptqConfig{.bits = 8, .group_size = 32});
  CHECK(of("model.layers.1.mlp.down_proj") == GptqConfig{.group_size = 128});
  CHECK(of("lm_head") == GptqConfig{.group_size = 128});
  // Patterns match from the first character on, so that "q_proj" alone matches no full name.
  CHECK(of("model.layers.0.self_attn.q_proj") ==
        GptqConfig{.group_size = 128, .sym = false, .desc_act = true});

  const auto refused = [&](const char* dynamic, const char* reason) {
    CAPTURE(dynamic);
    const auto read = [&] {
      const nlohmann::json json{{"bits", 4}, {"dynamic", parse_json(dynamic)}};
      return gptq_layer_config(GptqConfig::from_json(json), "layer", matches);
    };
    CHECK_THROWS_AS(read(), FormatError);
    CHECK_THROWS_WITH(read(), Contains(reason));
  };
  refused(R"(["x"])", "field \"dynamic\" is not an object");
  refused(R"({"x":4})", "field \"dynamic\": \"x\": the settings are not an object");
  refused(R"({"x":{"bits":5}})", "field \"dynamic\": \"x\": field \"bits\" is 5");
  refused(R"({"l.*":{"bits":8},"la.*":{"bits":2}})", "both match layer \"layer\"");
}

TEST_CASE("the method is named, or follows from the version", "[quantization_config]") {
  CHECK(quantization_method({{"quant_method", "pare"}}) == "pare");
  CHECK(quantization_method({{"method", "gptq"}}) == "gptq");
  CHECK(quantization_method({{"w_bit", 4}, {"version", "GEMM"}}) == "awq");
  CHECK(quantization_method({{"bits", 4}}) == "gptq");
}

TEST_CASE("GPTQ settings round trip", "[quantization_config]") {
  const GptqConfig config{.bits = 3,
                          .group_size = 64,
                          .sym = false,
                          .version = GptqVersion::v2,
                          .desc_act = true,
                          .static_groups = true,
                          .true_sequential = false,
                          .damp_percent = 0.05};
  const nlohmann::json json = config.to_json();
  CHECK(GptqConfig::from_json(json) == config);
  CHECK(GptqConfig::from_json(GptqConfig{}.to_json()) == GptqConfig{});
  CHECK(json["quant_method"] == "gptq");
  CHECK(json["checkpoint_format"] == "gptq_v2");
  CHECK(json["format"] == "gptq_v2");
  CHECK(json["bits"] == 3);
  REQUIRE(json["meta"]["quantizer"].is_array());
  CHECK_THAT(json["meta"]["quantizer"][0].get<std::string>(), Contains("pare:"));
}

TEST_CASE("GPTQ settings of other writers are understood", "[quantization_config]") {
  const auto old = GptqConfig::from_json(parse_json(
      R"({"bits":4,"group_size":128,"damp_percent":0.01,"desc_act":false,"static_groups":false,
          "sym":true,"true_sequential":true,"model_name_or_path":null,
          "model_file_base_name":"model"})"));
  CHECK(old == GptqConfig{.group_size = 128});
  const auto recent = GptqConfig::from_json(parse_json(
      R"({"bits":8,"group_size":32,"desc_act":true,"lm_head":false,"sym":false,"method":"gptq",
          "quant_method":"gptq","format":"gptq_v2","checkpoint_format":"gptq_v2",
          "pack_dtype":"int32","dynamic":{},"rotation":null,
          "meta":{"quantizer":["gptqmodel:2.0.0"],"damp_percent":0.1,"static_groups":true}})"));
  CHECK(recent == GptqConfig{.bits = 8,
                             .group_size = 32,
                             .sym = false,
                             .version = GptqVersion::v2,
                             .desc_act = true,
                             .static_groups = true,
                             .damp_percent = 0.1});
  CHECK(GptqConfig::from_json({{"w_bit", 2}, {"q_group_size", 16}}) ==
        GptqConfig{.bits = 2, .group_size = 16});
  CHECK(
      GptqConfig::from_json(parse_json(
          R"({"bits":"8","group_size":"-1","sym":"False","desc_act":"true","pack_dtype":null})")) ==
      GptqConfig{.bits = 8, .sym = false, .desc_act = true});
  CHECK(GptqConfig::from_json(parse_json(R"({"bits":4.0,"group_size":128.0,"dynamic":null})")) ==
        GptqConfig{.group_size = 128});
}

TEST_CASE("GPTQ settings that are not supported are refused by name", "[quantization_config]") {
  struct Case {
    std::string json;
    std::string reason;
  };
  const Case cases[] = {
      {R"([])", "a JSON object is needed"},
      {R"({"quant_method":"awq","bits":4})", "quant_method is \"awq\", not \"gptq\""},
      {R"({})", "field \"bits\" is missing"},
      {R"({"bits":"four"})", "field \"bits\" is not an integer"},
      {R"({"bits":""})", "field \"bits\" is not an integer"},
      {R"({"bits":"99999999999999999999"})", "field \"bits\" is not an integer"},
      {R"({"bits":4.5})", "field \"bits\" is not an integer"},
      {R"({"bits":4,"sym":"maybe"})", "field \"sym\" is not a boolean"},
      {R"({"bits":4,"is_marlin_format":true})", "\"is_marlin_format\""},
      {R"({"bits":5})", "field \"bits\" is 5"},
      {R"({"bits":4,"group_size":0})", "field \"group_size\" is 0"},
      {R"({"bits":4,"group_size":-2})", "field \"group_size\" is -2"},
      {R"({"bits":4,"sym":1})", "field \"sym\" is not a boolean"},
      {R"({"bits":4,"checkpoint_format":"marlin"})", "checkpoint_format \"marlin\""},
      {R"({"bits":4,"format":"gptq_p"})", "checkpoint_format \"gptq_p\""},
      {R"({"bits":4,"pack_dtype":"int64"})", "\"pack_dtype\""},
      {R"({"bits":4,"rotation":"hadamard"})", "\"rotation\" is not supported"},
      {R"({"bits":4,"damp_percent":"x"})", "field \"damp_percent\" is not a number"},
  };
  for (const Case& bad : cases) {
    CAPTURE(bad.json);
    CHECK_THROWS_AS(GptqConfig::from_json(parse_json(bad.json)), FormatError);
    CHECK_THROWS_WITH(GptqConfig::from_json(parse_json(bad.json)), Contains(bad.reason));
  }
}

TEST_CASE("AWQ settings round trip, and those of other layouts are refused",
          "[quantization_config]") {
  const AwqConfig config{.group_size = 64, .modules_to_not_convert = {"lm_head"}};
  CHECK(AwqConfig::from_json(config.to_json()) == config);
  CHECK(AwqConfig{}.to_json() ==
        parse_json(R"({"quant_method":"awq","zero_point":true,"group_size":128,"bits":4,
                       "version":"gemm","modules_to_not_convert":null})"));
  CHECK(AwqConfig::from_json(
            parse_json(R"({"zero_point":true,"q_group_size":32,"w_bit":4,"version":"GEMM"})")) ==
        AwqConfig{.group_size = 32});
  CHECK(AwqConfig::from_json(parse_json(
            R"({"quant_method":"awq","bits":"4","group_size":"64","zero_point":"True",
                "version":"Gemm"})")) == AwqConfig{.group_size = 64});

  struct Case {
    std::string json;
    std::string reason;
  };
  const Case cases[] = {
      {R"({"quant_method":"gptq"})", "quant_method is \"gptq\", not \"awq\""},
      {R"({"version":"gemv"})", "version \"gemv\" is not supported"},
      {R"({"version":"gemm","bits":3})", "\"bits\" is not 4"},
      {R"({"version":"gemm","zero_point":false})", "\"zero_point\" is false"},
      {R"({"version":"gemm","group_size":0})", "\"group_size\" is 0"},
      {R"({"version":"gemm","modules_to_not_convert":"x"})", "is not an array"},
      {R"({"version":"gemm","modules_to_not_convert":[1]})", "else than a string"},
  };
  for (const Case& bad : cases) {
    CAPTURE(bad.json);
    CHECK_THROWS_AS(AwqConfig::from_json(parse_json(bad.json)), FormatError);
    CHECK_THROWS_WITH(AwqConfig::from_json(parse_json(bad.json)), Contains(bad.reason));
  }
}
