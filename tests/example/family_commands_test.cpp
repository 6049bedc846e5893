#include <cstdint>
#include <string>
#include <vector>

#include "example/oracle_models.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_writer.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/temporary_directory.hpp"
#include "support/tiny_model.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

void run(const std::vector<std::string>& arguments) {
  const Outcome outcome = run_pare(arguments);
  CAPTURE(arguments[0], outcome.out, outcome.err);
  CHECK(outcome.status == 0);
}

void append(std::vector<std::string>& list, const std::vector<std::string>& more) {
  list.insert(list.end(), more.begin(), more.end());
}

/// The model's own input as token ids in a file, several times over, or its beginning.
fs::path write_tokens(const fs::path& to, const SafetensorsReader& inputs, int copies) {
  std::string bytes;
  for (int copy = 0; copy < copies; ++copy)
    for (const std::int64_t id : inputs.read_as<std::int64_t>("input_ids"))
      for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(id >> shift & 255);
  if (copies == 1) bytes.resize(8 * 4);  // a prompt that every context has room behind
  write_text(to, bytes);
  return to;
}

}  // namespace

TEST_CASE("a model of each family goes through every command") {
  for (const OracleModel& model : oracle_models) {
    CAPTURE(model.name);
    const std::string source = directory_of(model).string();
    const std::string expected = source + "/expected.safetensors";
    const auto inputs = SafetensorsReader::open(expected);
    const TemporaryDirectory directory;
    const auto path = [&](const char* name) { return (directory / name).string(); };
    std::vector<std::string> calibration{"--calib-inputs", expected},
        evaluation{"--inputs", expected};
    if (!model.is_encoder) {
      const std::string tokens = write_tokens(path("ids.bin"), inputs, 4).string();
      calibration = {"--calib-tokens", tokens, "--window", "8"};
      evaluation = {"--tokens", tokens, "--window", "8"};
    }
    run({"inspect", source});
    std::vector<std::string> quantize{"quantize",     source, "--out",     path("q"),
                                      "--method",     "gptq", "--format",  "int8",
                                      "--group-size", "8",    "--threads", "1"};
    append(quantize, calibration);
    run(quantize);
    run({"pack", path("q"), "--out", path("p")});
    for (const char* made : {"q", "p"}) {
      run({"inspect", path(made)});
      std::vector<std::string> eval{"eval",       path(made), "--reference",    source,
                                    "--no-speed", "--report", path("eval.json")};
      append(eval, evaluation);
      run(eval);
      // At 8 bits little is lost: what is wrong in a family shows.
      const auto report = read_json(directory / "eval.json");
      if (report.contains("kl"))
        CHECK(report["kl"].get<double>() < 2e-3);
      else
        CHECK(report["cosine"].get<double>() > 0.9999);
    }
    run({"logits", source, "--inputs", expected, "--out", path("l.safetensors"), "--hidden"});
    const auto answers = SafetensorsReader::open(path("l.safetensors"));
    for (const std::string& name : inputs.names()) {
      if (name.starts_with("decode_") || name == "whole_logits") continue;
      CAPTURE(name);
      REQUIRE(answers.contains(name));
      CHECK(answers.info(name).shape == inputs.info(name).shape);
    }
    if (!model.is_encoder) {
      const std::string few = write_tokens(path("few.bin"), inputs, 1).string();
      run({"generate", path("p"), "--tokens", few, "--length", "2"});
    }
  }
}

TEST_CASE("an expert that few tokens reach is quantized by the statistics of all") {
  const OracleModel mixtral{"mixtral", "mixtral"};
  const std::string source = directory_of(mixtral).string();
  const auto inputs = SafetensorsReader::open(source + "/expected.safetensors");
  const TemporaryDirectory directory;
  const auto path = [&](const char* name) { return (directory / name).string(); };
  const std::string tokens = write_tokens(path("ids.bin"), inputs, 4).string();
  const auto quantize = [&](const char* method, const char* out, const char* least) {
    const Outcome outcome =
        run_pare({"quantize", source, "--out", path(out), "--method", method, "--format", "uint4",
                  "--group-size", "8", "--calib-tokens", tokens, "--window", "8",
                  "--min-expert-tokens", least, "--threads", "1"});
    CAPTURE(method, outcome.err);
    REQUIRE(outcome.status == 0);
    return outcome;
  };
  const auto weights = [&](const char* out) {
    return read_text(directory / out / "model-00001-of-00003.safetensors");
  };
  const auto note = ContainsSubstring("note: model.layers.0.*: 4 of 4 experts get fewer than 128");
  for (const char* method : {"gptq", "awq", "awq+gptq"}) {
    CHECK_THAT(quantize(method, "all", "128").err, note);
    CHECK_THAT(quantize(method, "own", "1").err, !ContainsSubstring("experts get fewer"));
    CHECK(weights("all") != weights("own"));
    for (const char* made : {"all", "own"}) fs::remove_all(directory / made);
  }
  // What all experts read is scaled for all of them; outputs of grouped heads are not.
  const std::string summary = quantize("awq", "awq", "1").out;
  CHECK_THAT(summary, ContainsSubstring("o_proj unscaled") && !ContainsSubstring("w1"));
  // One token reaches two of the four.
  write_text(path("ids.bin"), std::string("\1\0\0\0", 4));
  CHECK(quantize("gptq", "few", "1").err.find("2 of 4 experts get fewer than 1") !=
        std::string::npos);
}

TEST_CASE("memory does not grow with the number of experts") {
  if (has_address_sanitizer) return;
  constexpr Index hidden = 256, intermediate = 768;
  constexpr rlim_t limit = 48 << 20;
  static_assert(24 * 3 * hidden * intermediate * sizeof(float) > limit);
  const TemporaryDirectory directory;
  write_text(directory / "ids.bin", std::string(4 * 64, '\0'));
  for (const Index experts : {6, 24}) {
    TinyModel model({.layers = 1, .hidden = hidden, .intermediate = 4, .dtype = DType::F16});
    model.config.update({{"model_type", "mixtral"},
                         {"intermediate_size", intermediate},
                         {"num_local_experts", experts},
                         {"num_experts_per_tok", 2}});
    std::erase_if(model.tensors,
                  [](const auto& t) { return t.name.find(".mlp.") != std::string::npos; });
    const std::string moe = "model.layers.0.block_sparse_moe.";
    model.add(moe + "gate.weight", {experts, hidden}, 0.0f, 0.1f);
    const auto name = [&](Index expert, const char* layer) {
      return moe + "experts." + std::to_string(expert) + layer;
    };
    for (const auto& [layer, shape] : {std::pair(".w1.weight", std::pair(intermediate, hidden)),
                                       std::pair(".w3.weight", std::pair(intermediate, hidden)),
                                       std::pair(".w2.weight", std::pair(hidden, intermediate))}) {
      model.add(name(0, layer), {shape.first, shape.second}, 0.0f, 0.1f);
      for (Index e = 1; e < experts; ++e) {  // alike: what matters is their number
        NamedTensor copy = model.tensor(name(0, layer));
        copy.name = name(e, layer);
        model.tensors.push_back(copy);
      }
    }
    const std::string source = (directory / std::to_string(experts)).string();
    model.write(source);
    for (const auto& [method, format] :
         {std::pair("gptq", "uint4"), std::pair("smoothquant", "w8a8-dynamic")}) {
      const Outcome outcome =
          Program({"quantize", source, "--out", (directory / "q").string(), "--force", "--method",
                   method, "--format", format, "--calib-tokens", (directory / "ids.bin").string(),
                   "--window", "32", "--threads", "1"},
                  RLIM_INFINITY, limit)
              .wait();
      CAPTURE(method, experts, outcome.err);
      CHECK(outcome.status == 0);
    }
  }
}

TEST_CASE("answers to inputs are named, shaped and valued as transformers gives them") {
  for (const OracleModel& model : oracle_models) {
    if (std::string(model.name) != "phi3_longrope" && std::string(model.name) != "bert_mean" &&
        std::string(model.name) != "deit")
      continue;
    CAPTURE(model.name);
    const std::string expected = (directory_of(model) / "expected.safetensors").string();
    const TemporaryDirectory directory;
    const std::string out = (directory / "l.safetensors").string();
    std::vector<std::string> words{
        "logits", directory_of(model).string(), "--inputs", expected, "--out", out, "--hidden"};
    if (!model.is_encoder) words.push_back("--decode");
    run(words);
    const auto wanted = SafetensorsReader::open(expected), answers = SafetensorsReader::open(out);
    for (const std::string& name : wanted.names()) {
      CAPTURE(name);
      REQUIRE(answers.contains(name));
      CHECK(answers.info(name).shape == wanted.info(name).shape);
      if (wanted.info(name).dtype != DType::F32) {
        CHECK(answers.read_as<std::int64_t>(name) == wanted.read_as<std::int64_t>(name));
        continue;
      }
      const auto own = answers.read_as<float>(name), other = wanted.read_as<float>(name);
      const auto size = std::ssize(own);
      CHECK(max_difference(MatrixView<const float>(own.data(), {1, size}),
                           MatrixView<const float>(other.data(), {1, size})) < 1e-4);
    }
  }
}

TEST_CASE("inputs that a model does not take are refused in one line") {
  const fs::path demos = fs::path(PARE_DEMO_MODEL_DIR).parent_path();
  const std::string text = demos / "demo-lm", digits = demos / "demo-digits",
                    verses = demos / "demo-classifier";
  const TemporaryDirectory directory;
  const std::string out = (directory / "out").string(), answers = out + ".safetensors";
  const struct {
    std::vector<std::string> command;
    const char* word;
  } cases[] = {
      {{"eval", digits, "--inputs", verses + "/eval.safetensors"}, "pixel_values"},
      {{"eval", verses, "--inputs", digits + "/eval.safetensors"}, "input_ids"},
      {{"eval", digits, "--text", text + "/eval.txt"}, "--inputs"},
      {{"eval", text, "--inputs", digits + "/eval.safetensors"}, "--inputs is of encoders"},
      {{"eval", verses, "--reference", digits}, "another vocabulary"},
      {{"eval", digits, "--logits", answers}, "pare logits"},
      {{"compare", verses, "--text", text + "/eval.txt"}, "--inputs"},
      {{"quantize", digits, "--method", "gptq", "--calib", text + "/calib.txt", "--out", out},
       "--calib-inputs"},
      {{"quantize", text, "--method", "gptq", "--calib-inputs", digits + "/calib.safetensors",
        "--out", out},
       "--calib-inputs is of encoders"},
      {{"generate", digits, "--prompt", "x"}, "encoder"},
      {{"bench", verses}, "encoder"},
      {{"logits", text, "--out", answers}, "--inputs FILE or --tokens FILE"},
      {{"logits", digits, "--decode", "--inputs", digits + "/eval.safetensors", "--out", answers},
       "--decode"},
      {{"logits", text, "--inputs", digits + "/eval.safetensors", "--out", answers}, "input_ids"},
      {{"logits", digits, "--inputs", digits + "/eval.safetensors", "--out", out + ".npy"},
       ".safetensors"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.command);
    const Outcome outcome = run_pare(c.command);
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(c.word));
    CHECK(fs::is_empty(directory.path()));
  }
}

TEST_CASE("texts without tokens, and inputs that are not followed, are refused by name") {
  const std::string llama = directory_of({"llama", "llama"}).string();
  const TemporaryDirectory directory;
  const std::string in = (directory / "in.safetensors").string(),
                    out = (directory / "out.safetensors").string();
  const auto refusal = [&] {
    const Outcome outcome = run_pare({"logits", llama, "--inputs", in, "--out", out});
    CHECK(outcome.status == 1);
    CHECK_FALSE(fs::exists(out));
    return outcome.err;
  };
  const NamedTensor one{"input_ids", DType::I64, {1, 1}, std::vector<std::byte>(8)};
  write_safetensors(in, {{"input_ids", DType::I64, {2, 0}, {}}});
  CHECK_THAT(refusal(), ContainsSubstring(in) && ContainsSubstring("[2, 0]"));
  write_safetensors(in, {one, {"position_ids", DType::I64, {1, 1}, std::vector<std::byte>(8)}});
  CHECK_THAT(refusal(), ContainsSubstring("position_ids"));
  // What a model is not is no answers' file either.
  write_safetensors(in, {one});
  fs::copy(in, out);
  CHECK_THAT(run_pare({"logits", llama, "--inputs", in, "--out", out}).err,
             ContainsSubstring("is a file of a model"));
}

TEST_CASE("answers are written over answers, and none that are not finite") {
  const TemporaryDirectory directory;
  const std::string source = directory_of({"llama_rope_yarn", "llama"}).string(),
                    model = (directory / "m").string(),
                    out = (directory / "out.safetensors").string();
  const std::vector<std::string> command{
      "logits", model, "--inputs", source + "/expected.safetensors", "--out", out};
  fs::copy(source, model);
  for (int i = 0; i < 2; ++i) run(command);
  auto config = read_json(fs::path(model) / "config.json");
  config["rope_theta"] = 1.0;
  if (config.contains("rope_parameters")) config["rope_parameters"]["rope_theta"] = 1.0;
  write_json(fs::path(model) / "config.json", config);
  const Outcome outcome = run_pare(command);
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.err, ContainsSubstring("NaN"));
}

TEST_CASE("the classifiers that come with pare keep their accuracy in 8 bits") {
  for (const char* name : {"demo-digits", "demo-classifier"}) {
    CAPTURE(name);
    const fs::path model = fs::path(PARE_DEMO_MODEL_DIR).parent_path() / name;
    const TemporaryDirectory directory;
    const std::string report = (directory / "r.json").string();
    run({"compare", model.string(), "--methods", "rtn,gptq", "--formats", "int8,uint4",
         "--no-speed", "--report", report});
    const auto rows = read_json(report)["rows"];
    const auto expected = read_json(model / "expected.json");
    REQUIRE(rows.size() == 5);
    const double accuracy = expected["accuracy"].get<double>();
    CHECK(rows[0]["accuracy"].get<double>() == Approx(accuracy).margin(1e-6));
    CHECK(rows[0]["kl"] == 0.0);
    for (std::size_t i = 1; i < rows.size(); ++i) {
      CAPTURE(rows[i].dump());
      CHECK(rows[i]["accuracy"].get<double>() > accuracy - 0.02);
      CHECK(rows[i]["top1"].get<double>() > 0.97);
    }
    // Calibration pays where it is measured against: 4 bits, by KL.
    const auto kl = [&](const char* method) {
      for (const auto& row : rows)
        if (row["method"] == method && row["format"] == "uint4") return row["kl"].get<double>();
      return -1.0;
    };
    CHECK(kl("gptq") < kl("rtn"));
  }
}
