#include "pare/io/quantization_config.hpp"

#include <string>

#include "pare/io/awq_checkpoint.hpp"
#include "pare/io/gptq_config.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using Catch::Matchers::Contains;

TEST_CASE("settings are found where readers look for them", "[quantization_config]") {
  const test::TemporaryDirectory directory;
  CHECK_FALSE(find_quantization_config(directory.path()).has_value());
  write_json(directory / "config.json", {{"hidden_size", 4}});
  CHECK_FALSE(find_quantization_config(directory.path()).has_value());
  write_json(directory / "config.json", {{"quantization_config", {{"bits", 1}}}});
  CHECK(find_quantization_config(directory.path())->at("bits") == 1);
  write_json(directory / "quant_config.json", {{"bits", 2}});
  CHECK(find_quantization_config(directory.path())->at("bits") == 2);
  write_json(directory / "quantize_config.json", {{"bits", 3}});
  CHECK(find_quantization_config(directory.path())->at("bits") == 3);
  test::write_text(directory / "quantize_config.json", "[");
  CHECK_THROWS_WITH(find_quantization_config(directory.path()),
                    Contains("quantize_config.json: no valid JSON"));
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
      {R"({"bits":"4"})", "field \"bits\" is not an integer"},
      {R"({"bits":5})", "field \"bits\" is 5"},
      {R"({"bits":4,"group_size":0})", "field \"group_size\" is 0"},
      {R"({"bits":4,"group_size":-2})", "field \"group_size\" is -2"},
      {R"({"bits":4,"sym":1})", "field \"sym\" is not a boolean"},
      {R"({"bits":4,"checkpoint_format":"marlin"})", "checkpoint_format \"marlin\""},
      {R"({"bits":4,"format":"gptq_p"})", "checkpoint_format \"gptq_p\""},
      {R"({"bits":4,"pack_dtype":"int64"})", "\"pack_dtype\""},
      {R"({"bits":4,"dynamic":{"-:lm_head":{}}})", "\"dynamic\" is not supported"},
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
