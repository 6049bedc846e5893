#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pare/io/json.hpp"
#include "support/catch.hpp"
#include "support/directory_content.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
using nlohmann::json;

using Words = std::vector<std::string>;

Words command(const TemporaryDirectory& directory, const std::string& out, const Words& options) {
  Words words{"quantize", (directory / "m").string(), "--out", (directory / out).string()};
  words.insert(words.end(), options.begin(), options.end());
  return words;
}

json with_step(const json& fields) {
  json step{{"step", "quantize"}};
  step.update(fields);
  return {{"version", 1}, {"steps", json::array({step})}};
}

}  // namespace

TEST_CASE("the recipe that a saved model holds repeats its bytes") {
  const TemporaryDirectory directory;
  TinyModel({.kv_heads = 4}).write(directory / "m");
  for (const Words& options : std::vector<Words>{
           {},
           {"--format", "nf4", "--range", "mse", "--scales", "bf16"},
           {"--method", "gptq", "--act-order", "--no-static-groups", "--damping", "0.03",
            "--calib-windows", "3", "--window", "16"},
           {"--method", "awq", "--format", "uint4", "--group-size", "32", "--save-as", "awq"},
           {"--method", "gptq", "--format", "int8", "--save-as", "gptq"},
           {"--method", "smoothquant", "--format", "w8a8-static", "--alpha", "0.7", "--observer",
            "mse", "--activation-zero-point", "--output-layer", "int8"},
           {"--layers", ".*mlp.*", "--rule", ".*up_proj=int8", "--rule", ".*1.*=uint3:16"}}) {
    CAPTURE(options);
    const Outcome first = run_pare(command(directory, "a", options));
    CAPTURE(first.err);
    REQUIRE(first.status == 0);
    const Outcome second = run_pare(
        command(directory, "b", {"--recipe", (directory / "a/pare_recipe.json").string()}));
    CAPTURE(second.err);
    REQUIRE(second.status == 0);
    CHECK(directory_content(directory / "a") == directory_content(directory / "b"));
    std::filesystem::remove_all(directory / "a");
    std::filesystem::remove_all(directory / "b");
  }
}

TEST_CASE("a recipe file does what the same options do") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  write_json(
      directory / "r.json",
      with_step(
          {{"method", "gptq"},
           {"format", "uint4"},
           {"group_size", 32},
           {"damping", 0.02},
           {"rules",
            json::array({{{"match", ".*down_proj"}, {"format", "skip"}},
                         {{"match", ".*q_proj"}, {"format", "int3"}, {"group_size", 16}}})}}));
  REQUIRE(
      run_pare(command(directory, "a",
                       {"--method", "gptq", "--format", "uint4", "--group-size", "32", "--damping",
                        "0.02", "--rule", ".*down_proj=skip", "--rule", ".*q_proj=int3:16"}))
          .status == 0);
  const Outcome outcome =
      run_pare(command(directory, "b", {"--recipe", (directory / "r.json").string()}));
  CAPTURE(outcome.err);
  REQUIRE(outcome.status == 0);
  CHECK(directory_content(directory / "a") == directory_content(directory / "b"));
}

TEST_CASE("bad recipes are refused in one line that names the field") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  const json quantize_step{{"step", "quantize"}};
  struct Case {
    json recipe;
    Words says;
  };
  const std::vector<Case> cases{
      {json::array(), {"[]"}},
      {json::object(), {"\"version\" is missing"}},
      {{{"version", 2}, {"steps", json::array({quantize_step})}}, {"\"version\" is 2", "1"}},
      {{{"version", 1}}, {"\"steps\" is missing"}},
      {{{"version", 1}, {"steps", json::array()}}, {"no list of steps"}},
      {{{"version", 1}, {"steps", "quantize"}}, {"no list of steps"}},
      {{{"version", 1}, {"steps", json::array({3})}}, {"a step is 3"}},
      {{{"version", 1}, {"steps", json::array({json::object()})}}, {"lacks the field \"step\""}},
      {{{"version", 1}, {"steps", json::array({{{"step", "polish"}}})}},
       {"unknown step \"polish\"", "\"quantize\""}},
      {{{"version", 1}, {"steps", json::array({quantize_step, quantize_step})}},
       {"several steps", "\"rules\""}},
      {{{"version", 1}, {"author", "x"}, {"steps", json::array({quantize_step})}},
       {"unknown field \"author\"", "version, calibration, steps"}},
      {{{"version", 1},
        {"calibration", {{"windows", -1}}},
        {"steps", json::array({quantize_step})}},
       {"\"windows\" is -1"}},
      {with_step({{"methods", "gptq"}}), {"unknown field \"methods\"", "method, format"}},
      {with_step({{"method", 3}}), {"\"method\" is 3", "not a text"}},
      {with_step({{"group_size", "64"}}), {"\"group_size\" is \"64\"", "not an integer"}},
      {with_step({{"group_size", 6.5}}), {"\"group_size\" is 6.5", "not an integer"}},
      {with_step({{"damping", true}}), {"\"damping\" is true", "not a number"}},
      {with_step({{"act_order", 1}}), {"\"act_order\" is 1", "true or false"}},
      {with_step({{"rules", "skip"}}), {"not a list of rules"}},
      {with_step({{"rules", json::array({"skip"})}}), {"rule \"skip\"", "no object"}},
      {with_step({{"rules", json::array({{{"match", ".*"}}})}}), {"\"format\" is missing"}},
      {with_step({{"rules", json::array({{{"match", ".*"}, {"format", "int4"}, {"bits", 4}}})}}),
       {"unknown field \"bits\"", "match, format, group_size"}},
      {with_step({{"rules", json::array({{{"match", "("}, {"format", "int4"}}})}}),
       {"no regular expression"}},
      {with_step({{"rules", json::array({{{"match", "x"}, {"format", "int4"}}})}}),
       {"no layer's whole name matches \"x\""}},
      {with_step({{"method", "best"}}), {"unknown method \"best\""}},
      {with_step({{"alpha", 0.7}}), {"--alpha has no effect here"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.recipe.dump());
    write_json(directory / "r.json", c.recipe);
    const Outcome outcome =
        run_pare(command(directory, "q", {"--recipe", (directory / "r.json").string()}));
    CAPTURE(outcome.err);
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    for (const std::string& text : c.says) CHECK_THAT(outcome.err, ContainsSubstring(text));
    CHECK(directory.entries() == std::set<std::string>{"m", "r.json"});
  }
}

TEST_CASE("options beside a recipe file must not contradict it") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  json recipe = with_step({{"method", "gptq"}});
  recipe["calibration"] = {{"window", 16}, {"windows", 2}};
  write_json(directory / "r.json", recipe);
  const std::vector<std::pair<Words, std::string>> cases{
      {{"--method", "rtn"}, "--method beside --recipe"},
      {{"--group-size", "32", "--act-order"}, "--group-size, --act-order beside --recipe"},
      {{"--rule", ".*=skip"}, "--rule beside --recipe"},
      {{"--window", "8"}, "--window 8 contradicts --recipe, which says 16"},
      {{"--calib-windows", "1"}, "--calib-windows 1 contradicts --recipe, which says 2"}};
  for (const auto& [options, says] : cases) {
    CAPTURE(options);
    Words words{"--recipe", (directory / "r.json").string()};
    words.insert(words.end(), options.begin(), options.end());
    const Outcome outcome = run_pare(command(directory, "q", words));
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(says));
  }
  CHECK(run_pare(command(directory, "q",
                         {"--recipe", (directory / "r.json").string(), "--window", "16"}))
            .status == 0);
}

TEST_CASE("help lists every option of a recipe, with its default") {
  const std::string help = run_pare({"quantize", "--help"}).out;
  for (const std::string option :
       {"--recipe", "--method", "--format", "--group-size", "--rule", "--layers", "--output-layer",
        "--act-order", "--no-static-groups", "--damping", "--alpha", "--range", "--scales",
        "--observer", "--activation-zero-point", "--save-as"})
    CHECK_THAT(help, ContainsSubstring(option));
  // Releases of CLI11 write a default as [rtn] or =rtn.
  CHECK_THAT(help, ContainsSubstring("[rtn]") || ContainsSubstring("=rtn"));
  CHECK_THAT(help, ContainsSubstring("[0.01]") || ContainsSubstring("=0.01"));
  const std::string compare = run_pare({"compare", "--help"}).out;
  CHECK_THAT(compare, ContainsSubstring("--damping") && !ContainsSubstring("--rule"));
}

TEST_CASE("group sizes that a reader's kernel does not know are noted") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  const auto notes = [&](const Words& options) {
    Words words = options;
    words.emplace_back("--force");
    return run_pare(command(directory, "q", words)).err.find("CPU kernel") != std::string::npos;
  };
  CHECK(notes({"--save-as", "gptq", "--group-size", "-1"}));
  CHECK_FALSE(notes({"--save-as", "gptq", "--group-size", "32"}));
  CHECK_FALSE(notes({"--save-as", "gptq", "--group-size", "-1", "--format", "int8"}));
  CHECK_FALSE(notes({"--group-size", "-1"}));
}
