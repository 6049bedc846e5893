#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "pare/io/json.hpp"
#include "pare/io/pare_checkpoint.hpp"
#include "pare/io/safetensors_collection.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

/// A model of a family that nobody knows, with all that is no ordinary layer.
struct PlainFixture {
  TemporaryDirectory directory;
  std::string source = (directory / "m").string(), out = (directory / "q").string();
  TinyModel model;

  explicit PlainFixture(bool has_config = true) {
    model.config["model_type"] = "unheard_of";
    model.add("model.layers.0.mlp.router.weight", {32, 64}, 0.0f, 1.0f);
    model.add("model.layers.1.mlp.router.weight", {32, 64}, 0.0f, 1.0f);
    model.add("model.layers.0.narrow.weight", {31, 64}, 0.0f, 1.0f);
    model.add("model.layers.1.narrow.weight", {31, 64}, 0.0f, 1.0f);
    model.add("model.once.3.alone.weight", {64, 64}, 0.0f, 1.0f);
    model.write(source);
    if (!has_config) fs::remove(fs::path(source) / "config.json");
  }
  [[nodiscard]] std::vector<std::string> quantize(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"quantize", source, "--out", out};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

}  // namespace

TEST_CASE("matrices of an unknown family are rounded, and everything else is copied bit for bit") {
  for (const bool has_config : {true, false}) {
    CAPTURE(has_config);
    const PlainFixture fixture(has_config);
    const std::string printed = output_of(fixture.quantize({"--format", "int8"}));
    CHECK_THAT(printed, ContainsSubstring("quantized: model.layers.#.mlp.gate_proj (2)"));
    CHECK_THAT(printed, ContainsSubstring("left:      model.layers.#.mlp.router (2)") &&
                            ContainsSubstring("left:      lm_head") &&
                            ContainsSubstring("left:      model.layers.#.narrow (2)") &&
                            ContainsSubstring("left:      model.once.#.alone"));
    auto before = SafetensorsCollection::open(fixture.source);
    auto after = SafetensorsCollection::open(fixture.out);
    const auto layers = pare_layers(read_json(fs::path(fixture.out) / "quantize_config.json"));
    CHECK(layers.size() == 14);
    for (const std::string& name : before.names()) {
      CAPTURE(name);
      const std::string layer = name.substr(0, name.rfind('.'));
      if (name.ends_with(".weight") && layers.contains(layer)) {
        CHECK(after.contains(layer + ".codes"));
        CHECK_FALSE(after.contains(name));
        continue;
      }
      REQUIRE(after.contains(name));
      CHECK(after.info(name).dtype == before.info(name).dtype);
      CHECK(std::equal(after.info(name).bytes.begin(), after.info(name).bytes.end(),
                       before.info(name).bytes.begin(), before.info(name).bytes.end()));
    }
    CHECK(fs::exists(fs::path(fixture.out) / "config.json") == has_config);
    if (has_config)
      CHECK(read_text(fs::path(fixture.out) / "config.json") ==
            read_text(fs::path(fixture.source) / "config.json"));
    CHECK_THAT(output_of({"inspect", fixture.source}), ContainsSubstring("14 of 21 matrices"));
    CHECK_THAT(output_of({"inspect", fixture.out}), ContainsSubstring("14 quantized layers"));
  }
}

TEST_CASE("what is only copied may hold anything") {
  PlainFixture fixture;
  fixture.model.add("model.mask", {1}, std::numeric_limits<float>::infinity(), 0.0f);
  fixture.model.write(fixture.source);
  CHECK_THAT(output_of(fixture.quantize()), ContainsSubstring("other tensors"));
  const auto out = SafetensorsCollection::open(fixture.out);
  CHECK(out.contains("model.mask"));
}

TEST_CASE("rows shorter than the default group size are one group each") {
  PlainFixture fixture;
  for (const char* block : {"0", "1"})
    fixture.model.add(std::string("short.") + block + ".fc.weight", {64, 40}, 0.0f, 1.0f);
  fixture.model.write(fixture.source);
  const Outcome outcome = run_pare(fixture.quantize());
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.err, ContainsSubstring("short.0.fc and 1 other layers are shorter"));
  const auto layers = pare_layers(read_json(fs::path(fixture.out) / "quantize_config.json"));
  CHECK(layers["short.0.fc"]["group_size"] == -1);
  CHECK(layers["model.layers.0.mlp.up_proj"]["group_size"] == 64);
  CHECK_THAT(run_pare(fixture.quantize({"--group-size", "64", "--force"})).err,
             ContainsSubstring("--group-size -1"));
}

TEST_CASE("where no blocks are alike it is said what would take their matrices") {
  TinyModel model({.layers = 1});
  model.config["model_type"] = "unheard_of";
  const TemporaryDirectory directory;
  const std::string source = (directory / "m").string(), out = (directory / "q").string();
  model.write(source);
  const Outcome outcome = run_pare({"quantize", source, "--out", out});
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.err, ContainsSubstring("--layers"));
  CHECK_THAT(output_of({"quantize", source, "--out", out, "--layers", ".*up_proj"}),
             ContainsSubstring("quantized: model.layers.#.mlp.up_proj"));
}

TEST_CASE("rules choose the matrices of an unknown family, and which are stored (in, out)") {
  const PlainFixture fixture;
  (void)output_of(fixture.quantize({"--format", "uint4", "--group-size", "32", "--rule",
                                    "model.once.3.alone=int8", "--rule", ".*attn.*=skip",
                                    "--transposed", ".*down_proj"}));
  const auto layers = pare_layers(read_json(fs::path(fixture.out) / "quantize_config.json"));
  std::set<std::string> names;
  for (const auto& [name, settings] : layers.items()) names.insert(name);
  CHECK(names == std::set<std::string>{"model.layers.0.mlp.down_proj",
                                       "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj",
                                       "model.layers.1.mlp.down_proj",
                                       "model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj",
                                       "model.once.3.alone"});
  CHECK(layers["model.once.3.alone"]["format"] == "int8");
  // Stored as [64, 96]: transposed it has 96 rows.
  CHECK(layers["model.layers.0.mlp.down_proj"]["rows"] == 96);
  CHECK(layers["model.layers.0.mlp.up_proj"]["rows"] == 96);
}

TEST_CASE("what would run a model of an unknown family is refused in one line") {
  const PlainFixture fixture;
  const struct {
    std::vector<std::string> command;
    const char* word;
  } cases[] = {
      {fixture.quantize({"--method", "gptq"}), "\"unheard_of\""},
      {fixture.quantize({"--format", "w8a8-static"}), "--method rtn"},
      {fixture.quantize({"--save-as", "gptq"}), "--save-as pare"},
      {fixture.quantize({"--output-layer", "int8"}), "--rule"},
      {fixture.quantize({"--transposed", "nothing"}), "no layer's whole name"},
      {fixture.quantize({"--transposed", "("}), "no regular expression"},
      {{"eval", fixture.source}, "\"unheard_of\""},
      {{"generate", fixture.source, "--prompt", "x"}, "\"unheard_of\""},
  };
  for (const auto& c : cases) {
    CAPTURE(c.command);
    const Outcome outcome = run_pare(c.command);
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(c.word));
    CHECK_FALSE(fs::exists(fixture.out));
  }
  const Outcome known = run_pare({"quantize", "--out", fixture.out, "--transposed", ".*"});
  CHECK_THAT(known.err, ContainsSubstring("--transposed has no effect here"));
}
