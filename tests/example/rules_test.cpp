#include <map>
#include <set>
#include <string>
#include <vector>

#include "pare/io/json.hpp"
#include "pare/io/safetensors_collection.hpp"
#include "support/catch.hpp"
#include "support/directory_content.hpp"
#include "support/killed_run.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
using nlohmann::json;

using Words = std::vector<std::string>;

Words quantize_command(const TemporaryDirectory& directory, const Words& options,
                       const std::string& out = "q") {
  Words words{"quantize",  (directory / "m").string(),
              "--out",     (directory / out).string(),
              "--threads", "1"};
  words.insert(words.end(), options.begin(), options.end());
  return words;
}

/// "format:group" of each layer that a pare directory holds quantized.
std::map<std::string, std::string> stored_formats(const std::filesystem::path& directory) {
  const json config = read_json(directory / "config.json");
  std::map<std::string, std::string> formats;
  for (const auto& item : config["quantization_config"]["layers"].items())
    formats[item.key()] = item.value()["format"].get<std::string>() + ":" +
                          std::to_string(item.value()["group_size"].get<Index>());
  return formats;
}

std::string bytes_of(SafetensorsCollection& tensors, const std::string& name) {
  const auto bytes = tensors.info(name).bytes;
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("rules give layers formats of their own, and the last one that matches counts") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  struct Case {
    Words options;
    std::map<std::string, std::string> expected;  ///< layer -> format; "" is float
  };
  const std::string down = "model.layers.0.mlp.down_proj", q = "model.layers.0.self_attn.q_proj",
                    up = "model.layers.1.mlp.up_proj";
  const std::vector<Case> cases{
      {{}, {{down, "int4:64"}, {q, "int4:64"}, {"lm_head", ""}}},
      {{"--rule", ".*down_proj=int8"}, {{down, "int8:-1"}, {q, "int4:64"}}},
      {{"--rule", ".*down_proj=uint3:32"}, {{down, "uint3:32"}, {up, "int4:64"}}},
      {{"--rule", ".*=int8", "--rule", ".*q_proj=skip"},
       {{q, ""}, {down, "int8:-1"}, {"lm_head", "int8:-1"}}},
      {{"--rule", ".*q_proj=skip", "--rule", ".*=int8"}, {{q, "int8:-1"}}},
      {{"--rule", "(?!model).*=nf4:32"}, {{"lm_head", "nf4:32"}, {q, "int4:64"}}},
      {{"--rule", "(?=.*q_proj).*=skip"}, {{q, ""}, {down, "int4:64"}}},
      {{"--layers", ".*(up|down)_proj"}, {{down, "int4:64"}, {up, "int4:64"}, {q, ""}}},
      {{"--layers", ".*mlp.*", "--rule", ".*down_proj=int2:16"}, {{down, "int2:16"}, {q, ""}}},
      {{"--layers", "lm_head", "--format", "int8"}, {{"lm_head", "int8:-1"}, {q, ""}, {up, ""}}},
      {{"--output-layer", "int8"}, {{"lm_head", "int8:-1"}, {q, "int4:64"}}},
      {{"--output-layer", "int8", "--rule", "lm_head=skip"}, {{"lm_head", ""}, {q, "int4:64"}}},
      {{"--group-size", "32", "--rule", ".*q_proj=int4"}, {{q, "int4:64"}, {down, "int4:32"}}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.options);
    Words options = c.options;
    options.emplace_back("--force");
    const Outcome outcome = run_pare(quantize_command(directory, options));
    CAPTURE(outcome.err);
    REQUIRE(outcome.status == 0);
    const auto formats = stored_formats(directory / "q");
    for (const auto& [layer, format] : c.expected) {
      CAPTURE(layer);
      const auto found = formats.find(layer);
      CHECK((found == formats.end() ? "" : found->second) == format);
    }
  }
}

TEST_CASE("bad rules are refused in one line that names them") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  struct Case {
    Words options, says;
  };
  const std::vector<Case> cases{
      {{"--rule", "int8"}, {"--rule 'int8'", "REGEX=FORMAT"}},
      {{"--rule", "=int8"}, {"--rule '=int8'", "REGEX=FORMAT"}},
      {{"--rule", ".*="}, {"rule '.*='", "unknown format \"\"", "there are int2"}},
      {{"--rule", ".*=int9"}, {"int9", "there are int2"}},
      {{"--rule", ".*=int4:"}, {"\"\" is no group size"}},
      {{"--rule", ".*=int4:3x"}, {"\"3x\" is no group size"}},
      {{"--rule", ".*=int4:0"}, {"rule '.*=int4:0'", "0 is neither"}},
      {{"--rule", ".*=skip:32"}, {"skipped have no group size"}},
      {{"--rule", "(q_proj=int8"}, {"\"(q_proj\" is no regular expression"}},
      {{"--rule", "q_proj=int8"},
       {"rule 'q_proj=int8'", "no layer's whole name matches \"q_proj\""}},
      {{"--rule", ".*q_proj.weight=int8"}, {"no layer's whole name matches"}},
      {{"--layers", "mlp"}, {"--layers 'mlp'", "no layer's whole name matches"}},
      {{"--save-as", "gptq", "--format", "int5"}, {"gptq does not hold int5"}},
      {{"--layers", "["}, {"--layers", "no regular expression"}},
      {{"--rule", ".*=skip"}, {"the rules skip every layer"}},
      {{"--rule", ".*down_proj=int4:97"}, {"down_proj of shape [64, 96]", "larger than the row"}},
      {{"--method", "awq", "--rule", ".*q_proj=w8a8-dynamic"},
       {"rule '.*q_proj=w8a8-dynamic'", "does not combine"}},
      {{"--save-as", "gptq", "--group-size", "32", "--rule", ".*q_proj=int8"},
       {"--save-as gptq", "q_proj", "int8:-1", "--save-as pare"}},
      {{"--save-as", "gptq", "--group-size", "32", "--rule", "lm_head=int4:32"}, {"lm_head"}},
      {{"--save-as", "awq", "--format", "uint4", "--group-size", "32", "--rule",
        ".*q_proj=uint4:16"},
       {"--save-as awq", "uint4:16"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.options);
    const Outcome outcome = run_pare(quantize_command(directory, c.options));
    CAPTURE(outcome.err);
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    for (const std::string& text : c.says) CHECK_THAT(outcome.err, ContainsSubstring(text));
    CHECK(directory.entries() == std::set<std::string>{"m"});
  }
  TinyModel({.tied = true}).write(directory / "m");
  CHECK_THAT(run_pare(quantize_command(directory, {"--rule", "lm_head=int8"})).err,
             ContainsSubstring("no layer's whole name matches \"lm_head\""));
}

TEST_CASE("skipped layers keep every bit, whatever the method") {
  const TemporaryDirectory directory;
  TinyModel({.kv_heads = 4, .dtype = DType::F16}).write(directory / "m");
  for (const Words& method :
       std::vector<Words>{{"--method", "rtn"},
                          {"--method", "gptq", "--act-order"},
                          {"--method", "awq", "--format", "uint4"},
                          {"--method", "awq+gptq", "--format", "uint4"},
                          {"--method", "smoothquant", "--format", "w8a8-static"}})
    for (const std::string pattern : {".*(k|down)_proj", ".*v_proj", ".*layers\\.0\\..*"}) {
      Words options = method;
      options.insert(options.end(),
                     {"--rule", pattern + "=skip", "--force", "--calib-windows", "4"});
      CAPTURE(options);
      const Outcome outcome = run_pare(quantize_command(directory, options));
      CAPTURE(outcome.err);
      REQUIRE(outcome.status == 0);
      auto before = SafetensorsCollection::open(directory / "m");
      auto after = SafetensorsCollection::open(directory / "q");
      int skipped = 0;
      for (const std::string& name : before.names())
        if (name.ends_with("_proj.weight") && after.contains(name)) {
          CAPTURE(name);
          CHECK(bytes_of(before, name) == bytes_of(after, name));
          ++skipped;
        }
      CHECK(skipped == (pattern == ".*v_proj" ? 2 : pattern == ".*(k|down)_proj" ? 4 : 7));
      CHECK(run_pare({"eval", (directory / "q").string(), "--no-speed"}).status == 0);
    }
}

TEST_CASE("the other commands read models of several formats") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  const std::vector<Words> cases{
      {"--rule", ".*down_proj=int8", "--rule", ".*layers\\.1\\.self.*=skip", "--rule",
       "lm_head=uint4:32"},
      {"--method", "gptq", "--group-size", "32", "--save-as", "gptq", "--rule", ".*v_proj=skip"},
      {"--method", "awq", "--format", "uint4", "--group-size", "32", "--save-as", "awq", "--rule",
       ".*layers\\.0\\.mlp.*=skip"},
  };
  for (const Words& options : cases) {
    CAPTURE(options);
    Words words = options;
    words.insert(words.end(), {"--force", "--calib-windows", "4"});
    const Outcome outcome = run_pare(quantize_command(directory, words));
    CAPTURE(outcome.err);
    REQUIRE(outcome.status == 0);
    const std::string q = (directory / "q").string(), p = (directory / "p").string();
    const Outcome evaluated =
        run_pare({"eval", q, "--no-speed", "--report", (directory / "q.json").string()});
    CAPTURE(evaluated.err);
    CHECK(evaluated.status == 0);
    CHECK(run_pare({"inspect", q}).status == 0);
    CHECK(run_pare({"generate", q, "--prompt", "a", "--length", "2"}).status == 0);
    CHECK(run_pare({"pack", q, "--out", p, "--force"}).status == 0);
    const Outcome packed =
        run_pare({"eval", p, "--no-speed", "--report", (directory / "p.json").string()});
    CAPTURE(packed.err);
    CHECK(packed.status == 0);
    CHECK(read_json(directory / "q.json")["bits_per_byte"] ==
          read_json(directory / "p.json")["bits_per_byte"]);
  }
}

TEST_CASE("files for other tools say which layers are skipped") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  REQUIRE(run_pare(quantize_command(directory,
                                    {"--group-size", "32", "--save-as", "gptq", "--rule",
                                     ".*layers\\.1\\.mlp\\.up_proj=skip"},
                                    "gptq"))
              .status == 0);
  CHECK(read_json(directory / "gptq/config.json")["quantization_config"]["dynamic"] ==
        json{{"-:^model\\.layers\\.1\\.mlp\\.up_proj$", json::object()}});
  REQUIRE(run_pare(quantize_command(directory,
                                    {"--format", "uint4", "--group-size", "32", "--save-as", "awq",
                                     "--rule", ".*layers\\.1\\.mlp\\.up_proj=skip"},
                                    "awq"))
              .status == 0);
  CHECK(read_json(directory / "awq/config.json")["quantization_config"]["modules_to_not_convert"] ==
        json{"model.layers.1.mlp.up_proj"});
}

TEST_CASE("after a kill a run with rules resumes and ends with the same bytes") {
  const TemporaryDirectory directory;
  constexpr int layers = 8;
  TinyModel({.layers = layers}).write(directory / "m");
  for (const Words& options : std::vector<Words>{
           {"--method", "gptq", "--rule", ".*down_proj=int8", "--rule", ".*k_proj=skip"},
           {"--method", "smoothquant", "--format", "w8a8-static", "--layers", ".*(0|3|7).*",
            "--output-layer", "int8"},
           {"--method", "awq+gptq", "--format", "uint4", "--group-size", "32", "--save-as", "gptq",
            "--rule", ".*layers\\.2\\..*=skip"}}) {
    CAPTURE(options);
    REQUIRE(run_pare(quantize_command(directory, options, "whole")).status == 0);
    const auto expected = directory_content(directory / "whole");
    std::filesystem::remove_all(directory / "whole");
    bool killed = false;
    for (int attempt = 0; attempt < 20 && !killed; ++attempt) {
      std::filesystem::remove_all(directory / "q");
      std::filesystem::remove_all(directory / "q.partial");
      killed = killed_run(quantize_command(directory, options), directory / "q", ".safetensors",
                          layers / 2);
    }
    REQUIRE(killed);
    const Outcome outcome = run_pare(quantize_command(directory, options));
    CAPTURE(outcome.err);
    CHECK(outcome.err.starts_with("resuming: "));
    CHECK(directory_content(directory / "q") == expected);
    std::filesystem::remove_all(directory / "q");
  }
}
