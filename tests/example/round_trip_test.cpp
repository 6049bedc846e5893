#include <string>
#include <vector>

#include "pare/io/json.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
using nlohmann::json;

struct Recipe {
  std::string method, format;
  std::vector<std::string> options{};
};

void append(std::vector<std::string>& list, const std::vector<std::string>& more) {
  list.insert(list.end(), more.begin(), more.end());
}

/// Biases and equal numbers of heads, so that AWQ folds into v_proj too; F16, so that everything
/// folded must be rounded as it is saved.
TinyModel model() {
  return TinyModel({.kv_heads = 4,
                    .biased = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                               "mlp.up_proj", "mlp.down_proj"},
                    .dtype = DType::F16});
}

/// The quality `compare` reports for a recipe must be, number for number, that of the saved model.
void check(const Recipe& recipe, const std::string& save_as) {
  CAPTURE(recipe.method, recipe.format, recipe.options, save_as);
  const TemporaryDirectory directory;
  const std::string source = (directory / "m").string(), out = (directory / "q").string();
  model().write(source);

  std::vector<std::string> compare{"compare",
                                   source,
                                   "--methods",
                                   recipe.method,
                                   "--formats",
                                   recipe.format,
                                   "--threads",
                                   "1",
                                   "--no-speed",
                                   "--report",
                                   (directory / "compare.json").string()};
  append(compare, recipe.options);
  const Outcome compared = run_pare(compare);
  CAPTURE(compared.err);
  REQUIRE(compared.status == 0);

  std::vector<std::string> quantize{"quantize",  source,        "--out",     out,
                                    "--method",  recipe.method, "--format",  recipe.format,
                                    "--threads", "1",           "--save-as", save_as};
  append(quantize, recipe.options);
  const Outcome quantized = run_pare(quantize);
  CAPTURE(quantized.err);
  REQUIRE(quantized.status == 0);

  const Outcome evaluated = run_pare(
      {"eval", out, "--text", (directory / "m").string() + "/eval.txt", "--reference", source,
       "--no-speed", "--threads", "1", "--report", (directory / "eval.json").string()});
  CAPTURE(evaluated.err);
  REQUIRE(evaluated.status == 0);

  const json rows = read_json(directory / "compare.json")["rows"];
  const json eval = read_json(directory / "eval.json");
  REQUIRE(rows.size() == 2);
  CHECK(rows[1]["kl"].get<double>() > 0.0);
  for (const char* key : {"perplexity", "bits_per_byte", "kl", "top1"}) {
    CAPTURE(key);
    CHECK(rows[1][key] == eval[key]);
  }
}

}  // namespace

TEST_CASE("a model saved by pare evaluates to the very numbers that compare reports") {
  for (const Recipe& recipe : std::vector<Recipe>{
           {"rtn", "int4"},
           {"rtn", "uint3", {"--group-size", "20"}},
           {"rtn", "uint2", {"--range", "mse"}},
           {"rtn", "int8"},
           {"rtn", "nf4", {"--scales", "bf16"}},
           {"rtn", "ternary"},
           {"gptq", "fp4"},
           {"gptq", "int4", {"--act-order"}},
           {"gptq", "int4", {"--act-order", "--no-static-groups", "--group-size", "32"}},
           {"gptq", "nf4"},
           {"gptq", "int3", {"--group-size", "32"}},
           {"awq", "uint4", {"--group-size", "32"}},
           {"awq", "nf4"},
           {"awq+gptq", "uint4", {"--act-order"}},
           {"rtn", "w8a8-dynamic"},
           {"rtn", "w4a8-dynamic"},
           {"gptq", "w4a8-dynamic", {"--group-size", "32"}},
           {"rtn", "w8a8-static"},
           {"rtn", "w8a8-static", {"--activation-zero-point"}},
           {"gptq", "w8a8-static", {"--observer", "percentile"}},
           {"smoothquant", "w8a8-static"},
           {"smoothquant", "w8a8-dynamic", {"--alpha", "0.7"}},
       })
    check(recipe, "pare");
}

TEST_CASE("a model saved as a GPTQ checkpoint evaluates to the numbers that compare reports") {
  for (const Recipe& recipe : std::vector<Recipe>{
           {"gptq", "int4", {"--group-size", "32"}},
           {"gptq", "uint4", {"--act-order", "--group-size", "32"}},
           {"gptq", "uint4", {"--act-order", "--no-static-groups", "--group-size", "32"}},
           {"gptq", "int8", {"--scales", "f16"}},
           {"rtn", "uint3", {"--group-size", "32"}},
           {"rtn", "int2", {"--group-size", "-1", "--scales", "f16"}},
           {"awq", "uint4", {"--group-size", "32"}},
       })
    check(recipe, "gptq");
}

TEST_CASE("a model saved as an AWQ checkpoint evaluates to the numbers that compare reports") {
  for (const Recipe& recipe : std::vector<Recipe>{
           {"rtn", "uint4", {"--group-size", "32"}},
           {"awq", "uint4", {"--group-size", "32"}},
           {"awq+gptq", "uint4", {"--act-order", "--group-size", "32"}},
       })
    check(recipe, "awq");
}

TEST_CASE("the order of columns is saved only where it is needed") {
  const TemporaryDirectory directory;
  model().write(directory / "m");
  const auto names = [&](std::vector<std::string> options) {
    std::vector<std::string> words{"quantize",     (directory / "m").string(),
                                   "--out",        (directory / "q").string(),
                                   "--method",     "gptq",
                                   "--format",     "uint4",
                                   "--save-as",    "gptq",
                                   "--group-size", "32",
                                   "--threads",    "1",
                                   "--force",      "--act-order"};
    append(words, options);
    REQUIRE(run_pare(words).status == 0);
    return read_json(directory.path() / "q" / "quantize_config.json");
  };
  CHECK(names({})["desc_act"] == false);
  CHECK(names({"--no-static-groups"})["desc_act"] == true);
}
