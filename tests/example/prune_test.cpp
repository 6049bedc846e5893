#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "pare/formats/mask.hpp"
#include "pare/formats/uint.hpp"
#include "pare/io/json.hpp"
#include "pare/io/masked_tensor.hpp"
#include "pare/io/pare_checkpoint.hpp"
#include "pare/io/safetensors_collection.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_writer.hpp"
#include "support/catch.hpp"
#include "support/killed_run.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

struct PruneFixture {
  TemporaryDirectory directory;
  std::string source = path("m");

  explicit PruneFixture(DType dtype = DType::F32) {
    TinyModel({.dtype = dtype}).write(source);
    std::string text;
    for (int i = 0; i < 600; ++i) text += static_cast<char>('a' + i * i % 26);
    write_text(path("calib.txt"), text);
  }
  [[nodiscard]] std::string path(const std::string& name) const {
    return (directory / name).string();
  }
  [[nodiscard]] std::vector<std::string> prune(const std::string& out,
                                               const std::vector<std::string>& more) const {
    std::vector<std::string> words{"prune",           source,     "--out", path(out),   "--calib",
                                   path("calib.txt"), "--window", "32",    "--threads", "1"};
    // What needs no calibration takes none.
    if (std::find(more.begin(), more.end(), "magnitude") != more.end())
      words.assign({"prune", source, "--out", path(out), "--threads", "1"});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  [[nodiscard]] Matrix<float> weight(const std::string& model, const std::string& layer) const {
    return SafetensorsCollection::open(path(model)).read_matrix(layer + ".weight");
  }
};

const char* const layer = "model.layers.1.mlp.down_proj";  // [64, 96]

}  // namespace

TEST_CASE("a pruned model is an ordinary one with zeros, as many as were asked for") {
  const PruneFixture fixture;
  const struct {
    std::vector<std::string> options;
    Index kept;  // of the layer's 64 x 96
    Index keep = 0, of = 0;
  } cases[] = {
      {{"--score", "magnitude", "--sparsity", "0.3"}, 64 * 96 - 1843},
      {{"--score", "wanda", "--sparsity", "0.3"}, 64 * (96 - 28)},
      {{"--score", "ria", "--sparsity", "0.5", "--scope", "row"}, 64 * 48},
      {{"--score", "magnitude", "--pattern", "2:4"}, 64 * 48, 2, 4},
      {{"--pattern", "4:8"}, 64 * 48, 4, 8},
      {{"--score", "magnitude", "--pattern", "blocks-4x4", "--sparsity", "0.25"}, 48 * 96},
      {{"--update", "sparsegpt", "--sparsity", "0.5"}, 64 * 48},
      {{"--update", "sparsegpt", "--pattern", "1:4"}, 64 * 24, 1, 4},
      {{"--update", "alps", "--sparsity", "0.7"}, 1843},
      {{"--update", "alps", "--pattern", "2:4"}, 64 * 48, 2, 4},
      {{"--update", "refit", "--score", "lamp", "--sparsity", "0.5"}, 64 * 48},
      {{"--update", "refit", "--pattern", "2:4"}, 64 * 48, 2, 4},
      {{"--update", "obc", "--sparsity", "0.5"}, 64 * 48},
      {{"--update", "sparsegpt", "--allocate", "owl", "--owl-lambda", "0"}, 64 * 48},
  };
  for (const auto& c : cases) {
    CAPTURE(c.options);
    const std::string printed = output_of(fixture.prune("p", c.options));
    CHECK_THAT(printed, ContainsSubstring("14 layers") && ContainsSubstring("simulated"));
    const Mask mask = nonzero_mask(fixture.weight("p", layer));
    CHECK(mask.kept() == c.kept);
    if (c.of != 0) CHECK(mask.is_n_of_m(c.keep, c.of));
    CHECK(read_text(fixture.path("p") + "/config.json") ==
          read_text(fixture.source + "/config.json"));
    auto before = SafetensorsCollection::open(fixture.source),
         after = SafetensorsCollection::open(fixture.path("p"));
    CHECK(before.names() == after.names());
    for (const char* same : {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"})
      CHECK(std::ranges::equal(before.info(same).bytes, after.info(same).bytes));
    // The recipe does the same again.
    (void)output_of({"prune", fixture.source, "--out", fixture.path("again"), "--recipe",
                     fixture.path("p") + "/pare_recipe.json", "--calib", fixture.path("calib.txt"),
                     "--threads", "2"});
    CHECK(fixture.weight("again", layer) == fixture.weight("p", layer));
    for (const char* made : {"p", "again"}) fs::remove_all(fixture.path(made));
  }
}

TEST_CASE("where all layers compete the lowest of all weights go") {
  const PruneFixture fixture;
  (void)output_of(
      fixture.prune("p", {"--score", "magnitude", "--scope", "global", "--sparsity", "0.4"}));
  const auto tensors = SafetensorsCollection::open(fixture.path("p"));
  Index zeros = 0, weights = 0;
  float largest_removed = 0.0f, smallest_kept = 1e9f;
  for (const std::string& name : tensors.names()) {
    if (name.find("proj") == std::string::npos) continue;
    const std::string own = name.substr(0, name.rfind('.'));
    const Matrix<float> before = fixture.weight("m", own), after = fixture.weight("p", own);
    for (Index i = 0; i < before.size(); ++i) {
      const float w = std::fabs(before.data()[i]);
      if (after.data()[i] == 0.0f)
        largest_removed = std::max(largest_removed, w);
      else
        smallest_kept = std::min(smallest_kept, w);
      zeros += after.data()[i] == 0.0f;
      ++weights;
    }
  }
  CHECK(zeros == static_cast<Index>(0.4 * static_cast<double>(weights) + 0.5));
  CHECK(largest_removed <= smallest_kept);
}

TEST_CASE("layers share the sparsity by a rule or a file") {
  const PruneFixture fixture;
  const auto sparsities = [&](const std::string& allocate) {
    std::vector<std::string> how{"--score", "magnitude", "--allocate", allocate, "--force"};
    if (!allocate.ends_with(".json")) how.insert(how.end(), {"--sparsity", "0.6"});
    (void)output_of(fixture.prune("p", how));
    std::vector<double> found;
    Index zeros = 0, weights = 0;
    auto tensors = SafetensorsCollection::open(fixture.path("p"));
    for (const std::string& name : tensors.names()) {
      if (name.find("proj") == std::string::npos) continue;
      const Mask mask = nonzero_mask(tensors.read_matrix(name));
      found.push_back(mask.sparsity());
      zeros += mask.removed();
      weights += mask.size();
    }
    found.push_back(static_cast<double>(zeros) / static_cast<double>(weights));
    return found;
  };
  const auto erk = sparsities("erk");
  CHECK(erk.back() == Approx(0.6).margin(1e-3));
  CHECK(*std::max_element(erk.begin(), erk.end()) > 0.62);
  nlohmann::json table;
  for (const char* block : {"0", "1"})
    for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                             "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
      table[std::string("model.layers.") + block + "." + name] = *block == '0' ? 0.25 : 0.75;
  write_json(fixture.path("table.json"), table);
  const auto by_file = sparsities(fixture.path("table.json"));
  CHECK(by_file.front() == 0.25);
  CHECK(by_file.back() == Approx(0.5).margin(1e-6));
  const auto refusal = [&] {
    write_json(fixture.path("table.json"), table);
    return run_pare(fixture.prune(
                        "x", {"--score", "magnitude", "--allocate", fixture.path("table.json")}))
        .err;
  };
  table["model.layers.0.mlp.up_proj"] = 1.0;
  CHECK_THAT(refusal(), ContainsSubstring("model.layers.0.mlp.up_proj is 1.0, outside [0, 1)"));
  table.erase("model.layers.0.mlp.up_proj");
  CHECK_THAT(refusal(), ContainsSubstring("there is no sparsity of model.layers.0.mlp.up_proj"));
  table["other"] = 0.5;
  CHECK_THAT(refusal(), ContainsSubstring("\"other\" is no layer"));
}

TEST_CASE("after a kill pruning goes on, and threads change no byte") {
  // In F16 what enters the second block depends on how the first one was rounded.
  const PruneFixture fixture(DType::F16);
  for (const std::vector<std::string>& how :
       {std::vector<std::string>{"--update", "sparsegpt", "--pattern", "2:4"},
        {"--score", "wanda", "--sparsity", "0.5"},
        {"--score", "wanda", "--allocate", "owl"},
        {"--update", "sparsegpt", "--sparsity", "0.5", "--save-as", "pare"}}) {
    auto command = fixture.prune("killed", how);
    const bool killed = killed_run(command, fixture.path("killed"), ".safetensors", 1);
    if (killed) CHECK(run_pare(command).status == 0);
    auto whole = fixture.prune("whole", how);
    whole[std::find(whole.begin(), whole.end(), "--threads") - whole.begin() + 1] = "2";
    REQUIRE(run_pare(whole).status == 0);
    if (killed)
      for (const char* file :
           {"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors", "config.json"})
        CHECK(read_text(fixture.path("killed") + "/" + file) ==
              read_text(fixture.path("whole") + "/" + file));
    for (const char* made : {"killed", "whole"}) fs::remove_all(fixture.path(made));
  }
}

TEST_CASE("with masks in place of zeros a model answers as before and its files are smaller") {
  const TemporaryDirectory directory;
  const auto path = [&](const std::string& name) { return (directory / name).string(); };
  const fs::path models = fs::path(PARE_TEST_DATA_DIR) / "models";
  TinyModelOptions half;
  half.dtype = DType::F16;
  TinyModel(half).write(path("llama16"));
  const struct {
    fs::path source;
    const char* layer;
    bool transposed = false;
  } cases[] = {{path("llama16"), "model.layers.1.mlp.down_proj"},
               {models / "gpt2", "transformer.h.0.mlp.c_fc", true},
               {models / "mixtral", "model.layers.0.block_sparse_moe.experts.1.w2"}};
  std::string ids;
  for (int i = 0; i < 24; ++i) ids += std::string{static_cast<char>(i * i % 60), 0, 0, 0};
  write_text(path("ids.bin"), ids);
  for (const auto& c : cases) {
    CAPTURE(c.source);
    const auto prune = [&](const char* out, const char* layout) {
      return output_of({"prune", c.source.string(), "--out", path(out), "--score", "wanda",
                        "--sparsity", "0.5", "--calib-tokens", path("ids.bin"), "--window", "8",
                        "--threads", "1", "--save-as", layout});
    };
    CHECK_THAT(prune("dense", "huggingface"), ContainsSubstring("simulated"));
    CHECK_THAT(prune("masked", "pare"), ContainsSubstring("pare alone reads"));
    auto dense = SafetensorsCollection::open(path("dense")),
         masked = SafetensorsCollection::open(path("masked"));
    const std::string name = std::string(c.layer) + ".weight";
    CHECK_FALSE(masked.contains(name));
    const auto weight = unmasked_tensor(masked, name);
    CHECK(weight.shape == dense.info(name).shape);
    CHECK(std::ranges::equal(weight.data, dense.info(name).bytes));
    const auto bytes = [](SafetensorsCollection& tensors, const std::string& of) {
      std::size_t sum = 0;
      for (const std::string& tensor : tensors.names())
        if (tensor.starts_with(of)) sum += tensors.info(tensor).bytes.size();
      return sum;
    };
    // Half of the weights, a bit for each, and the shape; rows of a mask end in whole bytes.
    const auto& shape = weight.shape;
    CHECK(bytes(masked, name) ==
          bytes(dense, name) / 2 + static_cast<std::size_t>(shape[0] * ceil_div(shape[1], 8)) + 16);
    CHECK(bytes(masked, "") < bytes(dense, ""));
    std::vector<std::string> answers;
    for (const char* made : {"dense", "masked"}) {
      (void)output_of({"logits", path(made), "--tokens", path("ids.bin"), "--out",
                       path("l.safetensors"), "--threads", "1"});
      answers.push_back(read_text(path("l.safetensors")));
    }
    CHECK(answers[0] == answers[1]);
    CHECK_THAT(output_of({"inspect", path("masked")}),
               ContainsSubstring("quantization: pare, masked") && ContainsSubstring("50.0 %"));
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"quantize", path("masked"), "--method", "rtn", "--out",
                                   path("x")},
          {"prune", path("masked"), "--score", "magnitude", "--out", path("x")},
          {"pack", path("masked"), "--out", path("x")},
          {"sensitivity", path("masked")},
          {"compare", path("masked"), "--no-speed"}}) {
      CAPTURE(command);
      const Outcome outcome = run_pare(command);
      CHECK(outcome.status == 1);
      CHECK(outcome.error_lines() == 1);
      CHECK_THAT(outcome.err, ContainsSubstring("without --save-as pare"));
      CHECK_FALSE(fs::exists(path("x")));
    }
    for (const char* made : {"dense", "masked"}) fs::remove_all(path(made));
  }
}

TEST_CASE("masked tensors that are broken are refused by name") {
  const PruneFixture fixture;
  (void)output_of(fixture.prune("p", {"--score", "magnitude", "--save-as", "pare"}));
  const std::string shard = fixture.path("p") + "/model-00002-of-00003.safetensors";
  const std::string name = std::string(layer) + ".weight";
  std::vector<NamedTensor> whole;
  {
    const auto reader = SafetensorsReader::open(shard);
    for (const std::string& tensor : reader.names()) {
      const TensorInfo& info = reader.info(tensor);
      whole.push_back({tensor, info.dtype, info.shape, {info.bytes.begin(), info.bytes.end()}});
    }
  }
  const std::string config = fixture.path("p") + "/config.json", intact = read_text(config);
  const auto settings = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json all = nlohmann::json::parse(intact);
    if (value.is_null())
      all.erase("quantization_config");
    else
      all["quantization_config"][key] = value;
    write_json(config, all);
  };
  using Tensors = std::vector<NamedTensor>;
  const auto at = [](Tensors& tensors, const std::string& tensor) -> NamedTensor& {
    return *std::ranges::find(tensors, tensor, &NamedTensor::name);
  };
  const struct {
    std::function<void(Tensors&)> change;
    std::string tensor, reason;
  } cases[] = {
      {[&](Tensors& t) { at(t, name + "_mask").data[5] ^= std::byte{1}; }, name + "_values",
       "the mask keeps"},
      {[&](Tensors& t) { at(t, name + "_shape").data[0] ^= std::byte{1}; }, name + "_shape",
       "[65, 96]"},
      {[&](Tensors& t) {
         at(t, name + "_values").data[3] = std::byte{0x7f};
         at(t, name + "_values").data[2] = std::byte{0x80};
       },
       name, "holds NaN"},
      {[&](Tensors&) { settings("version", 2); }, "config.json", "\"version\""},
      {[&](Tensors&) { settings("layout", nullptr); }, "self_attn", "no quantization_config"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.tensor, c.reason);
    Tensors changed = whole;
    write_text(config, intact);
    c.change(changed);
    write_safetensors(shard, changed);
    const Outcome outcome = run_pare({"eval", fixture.path("p")});
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(c.tensor) && ContainsSubstring(c.reason));
  }
}

TEST_CASE("one pass prunes and quantizes, and zeros stay zeros") {
  const PruneFixture fixture;
  for (const char* prune : {"sparsegpt:2:4", "alps:2:4", "sparsegpt:0.5"}) {
    CAPTURE(prune);
    (void)output_of({"quantize", fixture.source, "--out", fixture.path("q"), "--prune", prune,
                     "--method", "gptq", "--format", "uint4", "--group-size", "32", "--calib",
                     fixture.path("calib.txt"), "--window", "32", "--threads", "1"});
    auto tensors = SafetensorsCollection::open(fixture.path("q"));
    const auto settings =
        pare_layers(read_json(fs::path(fixture.path("q")) / "config.json")["quantization_config"]);
    const auto q = read_pare_layer<UInt<4>>(tensors, layer, settings[layer]);
    Mask mask(64, 96);
    for (Index i = 0; i < 64; ++i)
      for (Index j = 0; j < 96; ++j) mask.set(i, j, q.value(i, j) != 0.0f);
    // Rounding makes more zeros.
    CHECK(mask.kept() <= 64 * 48);
    CHECK(mask.kept() > 64 * 30);
    if (std::string(prune).ends_with("2:4")) CHECK(mask.is_n_of_m(2, 4));
    const auto recipe = read_json(fs::path(fixture.path("q")) / "pare_recipe.json");
    CHECK(recipe["steps"][0]["step"] == "prune");
    CHECK(recipe["steps"][1]["step"] == "quantize");
    fs::remove_all(fixture.path("q"));
  }
}

TEST_CASE("what cannot be pruned is refused in one line, before the work") {
  const PruneFixture fixture;
  write_json(fixture.path("joint.json"),
             {{"version", 1},
              {"steps",
               {{{"step", "prune"}, {"update", "sparsegpt"}, {"save_as", "pare"}},
                {{"step", "quantize"}, {"method", "gptq"}}}}});
  const auto quantize = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words{"quantize",        fixture.source, "--out",
                                   fixture.path("p"), "--calib",      fixture.path("calib.txt")};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const struct {
    std::vector<std::string> command;
    const char* word;
  } cases[] = {
      {fixture.prune("p", {"--sparsity", "1"}), "outside [0, 1)"},
      {fixture.prune("p", {"--sparsity", "-0.1"}), "outside [0, 1)"},
      {fixture.prune("p", {"--sparsity", "nan"}), "--sparsity"},
      {fixture.prune("p", {"--pattern", "5:4"}), "5:4"},
      {fixture.prune("p", {"--pattern", "2of4"}), "there are unstructured, N:M"},
      {fixture.prune("p", {"--pattern", "2:7"}), "do not divide into groups of 7"},
      {fixture.prune("p", {"--pattern", "2:4", "--sparsity", "0.4"}), "--sparsity has no effect"},
      {fixture.prune("p", {"--score", "charm"}), "magnitude"},
      {fixture.prune("p", {"--score", "snip"}), "needs gradients"},
      {fixture.prune("p", {"--score", "wanda", "--scope", "global"}), "--scope global"},
      {fixture.prune("p", {"--update", "alps", "--score", "magnitude"}), "--score has no effect"},
      {fixture.prune("p", {"--update", "sparsegpt", "--pattern", "blocks-4x4"}), "no blocks"},
      {fixture.prune("p", {"--update", "rest"}), "none, refit, sparsegpt, obc, alps"},
      {fixture.prune("p", {"--layers", "nothing"}), "no layer's whole name"},
      {fixture.prune("p", {"--layers", "("}), "no regular expression"},
      {fixture.prune("p", {"--calib-stride", "0"}), "--calib-stride 0"},
      {fixture.prune("p", {"--damping", "0.1"}), "--damping has no effect"},
      {fixture.prune("p", {"--owl-lambda", "0.1"}), "--owl-lambda has no effect"},
      {fixture.prune("p", {"--allocate", "owl", "--owl-lambda", "0.6"}), "outside [0, 0.5]"},
      {fixture.prune("p", {"--allocate", "owl", "--owl-multiple", "0"}), "--owl-multiple 0"},
      {fixture.prune("p", {"--allocate", "owl", "--pattern", "2:4"}), "--allocate owl"},
      {fixture.prune("p", {"--save-as", "gptq"}), "huggingface, pare"},
      {fixture.prune("p", {"--save-as", "pare", "--structure", "channels"}),
       "--save-as has no effect with --structure"},
      {quantize({"--recipe", fixture.path("joint.json")}), "\"save_as\""},
      {quantize({"--prune", "sparsegpt:2:4"}), "--method gptq"},
      {quantize({"--prune", "wanda:2:4", "--method", "gptq"}), "sparsegpt or alps"},
      {quantize({"--prune", "alps", "--method", "gptq"}), "METHOD:PATTERN"},
      {quantize({"--prune", "alps:many", "--method", "gptq"}), "\"many\""},
      {quantize({"--prune", "sparsegpt:2:4", "--method", "gptq", "--act-order"}), "neighbours"},
      {{"compare", fixture.source, "--prune", "wanda:2"}, "outside [0, 1)"},
      {{"compare", fixture.source, "--prune", "wanda:2:4:owl"}, "--allocate owl"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.command);
    const Outcome outcome = run_pare(c.command);
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(c.word));
    CHECK_FALSE(fs::exists(fixture.path("p")));
    CHECK_FALSE(fs::exists(fixture.path("p.partial")));
  }
}

TEST_CASE("pruning reaches the reference quality on the demo model", "[demo]") {
  const TemporaryDirectory directory;
  const std::string report = (directory / "r.json").string();
  // Nats per byte of the authors' code, calibrated alike, and the tolerance.
  const struct {
    const char* method;
    double kl, tolerance, sparsity;
  } cases[] = {{"magnitude 50 % global", 0.03826, 0.01, 0.5},
               {"wanda 2:4", 0.11339, 0.03, 0.5},
               {"sparsegpt 2:4", 0.03936, 0.04, 0.5},
               {"sparsegpt 70 % owl", 0.21792, 0.04, 0.7},
               {"alps 2:4", 0.01196, 0.05, 0.5}};
  (void)output_of({"compare", "--no-speed", "--prune",
                   "magnitude:0.5:global,wanda:2:4,sparsegpt:2:4,sparsegpt:0.7:owl,alps:2:4",
                   "--window", "256", "--calib-stride", "4", "--report", report});
  const auto rows = read_json(report)["rows"];
  REQUIRE(rows.size() == 6);
  for (const auto& c : cases) {
    CAPTURE(c.method);
    const auto row = std::find_if(rows.begin(), rows.end(),
                                  [&](const auto& r) { return r["method"] == c.method; });
    REQUIRE(row != rows.end());
    CHECK((*row)["kl"].template get<double>() == Approx(c.kl).epsilon(c.tolerance));
    CHECK((*row)["sparsity"].template get<double>() == Approx(c.sparsity).margin(1e-3));
  }
}

TEST_CASE("owl gives the blocks of the demo model what its authors' code gives them") {
  const TemporaryDirectory directory;
  const std::string out = (directory / "p").string();
  (void)output_of({"prune", "--sparsity", "0.7", "--allocate", "owl", "--window", "256",
                   "--calib-stride", "4", "--out", out});
  const double expected[] = {0.5938, 0.7227, 0.7539, 0.7188};  // of rows of 256, rounded down
  auto tensors = SafetensorsCollection::open(out);
  for (std::size_t block = 0; block < 4; ++block) {
    CAPTURE(block);
    const Mask mask = nonzero_mask(
        tensors.read_matrix("model.layers." + std::to_string(block) + ".self_attn.q_proj.weight"));
    CHECK(mask.sparsity() == Approx(expected[block]).margin(0.5 / 256.0));
  }
}
