#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "pare/io/json.hpp"
#include "pare/io/safetensors_collection.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
using nlohmann::json;

Outcome quantize(const TemporaryDirectory& directory, const std::vector<std::string>& options) {
  std::vector<std::string> words{"quantize", (directory / "m").string(), "--out",
                                 (directory / "q").string(), "--force"};
  words.insert(words.end(), options.begin(), options.end());
  return run_pare(words);
}

std::string perplexity(const std::filesystem::path& model) {
  const Outcome outcome = run_pare({"eval", model.string(), "--no-speed"});
  CAPTURE(outcome.err);
  REQUIRE(outcome.status == 0);
  const std::size_t at = outcome.out.find("perplexity");
  return outcome.out.substr(at, outcome.out.find('\n', at) - at);
}

}  // namespace

TEST_CASE("the output layer is what is stored, and saved models say so") {
  const struct {
    const char* what;
    bool tied_in_file;
    std::function<void(TinyModel&)> change;
    bool tied_in_truth, warned;
  } cases[] = {
      {"its own, said to be tied", true, [](TinyModel&) {}, false, true},
      {"missing, said to be untied", false, [](TinyModel& m) { m.remove("lm_head.weight"); }, true,
       true},
      {"a copy of the embedding, tied", true,
       [](TinyModel& m) {
         m.tensor("lm_head.weight").data = m.tensor("model.embed_tokens.weight").data;
       },
       true, false},
      {"stored in place of the embedding", true,
       [](TinyModel& m) { m.remove("model.embed_tokens.weight"); }, true, false},
      {"its own, said so", false, [](TinyModel&) {}, false, false},
  };
  for (const auto& c : cases) {
    CAPTURE(c.what);
    const TemporaryDirectory directory;
    TinyModel model;
    c.change(model);
    model.config["tie_word_embeddings"] = c.tied_in_file;
    model.write(directory / "m");
    model.config["tie_word_embeddings"] = c.tied_in_truth;
    model.write(directory / "truth");
    CHECK(perplexity(directory / "m") == perplexity(directory / "truth"));
    const Outcome outcome = quantize(directory, {});
    CAPTURE(outcome.err);
    REQUIRE(outcome.status == 0);
    CHECK((outcome.err.find("tie_word_embeddings") != std::string::npos) == c.warned);
    CHECK(read_json(directory / "q/config.json")["tie_word_embeddings"] == c.tied_in_truth);
    CHECK(run_pare({"eval", (directory / "q").string(), "--no-speed"})
              .err.find("tie_word_embeddings") == std::string::npos);
  }
}

TEST_CASE("contradictions and oddities are told once, and the model is quantized") {
  const struct {
    const char* what;
    std::function<void(TinyModel&)> change;
    std::string warning;
  } cases[] = {
      {"blocks that are not counted", [](TinyModel& m) { m.config["num_hidden_layers"] = 1; },
       "model.layers.1.* is beyond"},
      {"tokens outside the vocabulary", [](TinyModel& m) { m.config["eos_token_id"] = 256; },
       "eos_token_id 256 is outside"},
      {"a pad token outside", [](TinyModel& m) { m.config["pad_token_id"] = 32000; },
       "pad_token_id 32000 is outside"},
      {"two angles",
       [](TinyModel& m) {
         m.config["rope_parameters"] = {{"rope_theta", 5e5}};
       },
       "rope_parameters has another"},
      {"a bias too many",
       [](TinyModel& m) { m.add("model.layers.0.mlp.up_proj.bias", {96}, 0.0f, 1.0f); },
       "model.layers.0.mlp.up_proj.bias is stored"},
      {"a bias of zeros",
       [](TinyModel& m) { m.add("model.layers.0.mlp.up_proj.bias", {96}, 0.0f, 0.0f); }, ""},
      {"a bias too few", [](TinyModel& m) { m.config["attention_bias"] = true; },
       "model.layers.0.self_attn.q_proj.bias is not stored"},
  };
  for (const auto& c : cases) {
    const TemporaryDirectory directory;
    TinyModel model;
    c.change(model);
    model.write(directory / "m");
    const Outcome outcome = quantize(directory, {});
    CAPTURE(c.what, outcome.err);
    REQUIRE(outcome.status == 0);
    const std::size_t at = outcome.err.find("warning: ");
    CHECK((at != std::string::npos) == !c.warning.empty());
    CHECK_THAT(outcome.err, ContainsSubstring(c.warning));
    CHECK(outcome.err.find("warning: ", at + 1) == std::string::npos);
  }
}

TEST_CASE("commands that compute no attention need none") {
  const TemporaryDirectory directory;
  const auto write = [&](const json& changes) {
    TinyModel model;
    model.config.update(changes);
    model.write(directory / "m");
  };
  const std::string m = (directory / "m").string();
  write({{"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}}});
  CHECK(run_pare({"inspect", m}).status == 0);
  CHECK(quantize(directory, {}).status == 0);
  CHECK(
      run_pare({"pack", (directory / "q").string(), "--out", (directory / "p").string()}).status ==
      0);
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"eval", m},
        {"bench", m, "--prompt", "2", "--tokens", "2"},
        {"compare", m},
        {"generate", m, "--prompt", "x"},
        {"quantize", m, "--out", (directory / "g").string(), "--method", "gptq"}}) {
    const Outcome outcome = run_pare(command);
    CAPTURE(command, outcome.err);
    CHECK(outcome.status > 0);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring("config.json") && ContainsSubstring("rope_scaling"));
  }
}

TEST_CASE("a text ends at any of the tokens that end one") {
  const TemporaryDirectory directory;
  TinyModel model;
  const auto made = [&] {
    const Outcome outcome = run_pare({"generate", (directory / "m").string(), "--tokens",
                                      (directory / "ids").string(), "--length", "6"});
    CAPTURE(outcome.err);
    REQUIRE(outcome.status == 0);
    std::vector<int> ids;
    for (std::size_t at = 0; at < outcome.out.size(); at = outcome.out.find('\n', at) + 1)
      ids.push_back(std::stoi(outcome.out.substr(at)));
    return ids;
  };
  write_text(directory / "ids", std::string("a\0\0\0b\0\0\0", 8));
  model.write(directory / "m");
  const std::vector<int> all = made();
  REQUIRE(all.size() == 6);
  const auto first = std::find(all.begin(), all.end(), all[3]) - all.begin();
  const std::vector<int> cut(all.begin(), all.begin() + first);
  model.config["eos_token_id"] = {999, all[3]};
  model.write(directory / "m");
  CHECK(made() == cut);
  model.config["eos_token_id"] = nullptr;
  model.write(directory / "m");
  CHECK(made() == all);
  write_json(directory / "m/generation_config.json", {{"eos_token_id", {all[3]}}});
  CHECK(made() == cut);
  model.config["eos_token_id"] = all[3];
  model.write(directory / "m");
  write_json(directory / "m/generation_config.json", {{"temperature", 1.0}});
  CHECK(made() == cut);  // the file says nothing about ends
  write_json(directory / "m/generation_config.json", {{"eos_token_id", nullptr}});
  CHECK(made() == all);
}

TEST_CASE("files for AWQ readers are float16 throughout") {
  const TemporaryDirectory directory;
  for (const char* key : {"torch_dtype", "dtype"}) {
    TinyModel model({.dtype = DType::BF16});
    model.config[key] = "bfloat16";
    model.write(directory / "m");
    const Outcome outcome =
        quantize(directory, {"--format", "uint4", "--save-as", "awq", "--group-size", "32"});
    CAPTURE(outcome.err);
    REQUIRE(outcome.status == 0);
    CHECK_THAT(outcome.err, ContainsSubstring("float16"));
    CHECK(read_json(directory / "q/config.json")[key] == "float16");
    auto tensors = SafetensorsCollection::open(directory / "q");
    for (const std::string& name : tensors.names()) {
      CAPTURE(name);
      CHECK(tensors.info(name).dtype != DType::BF16);
    }
    CHECK(quantize(directory, {"--save-as", "gptq", "--group-size", "32"})
              .err.find("stays bfloat16") != std::string::npos);
  }
}
