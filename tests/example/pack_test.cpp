#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "engine/checkpoint.hpp"
#include "pare/core/thread_pool.hpp"
#include "pare/io/json.hpp"
#include "pare/quantization/quantize.hpp"
#include "support/catch.hpp"
#include "support/directory_content.hpp"
#include "support/killed_run.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace pare;
using namespace pare::test;
using engine::PackedAccess;
using nlohmann::json;

/// A directory with a model "m", and what commands make of it: "q" quantized, "p" packed.
struct PackFixture {
  explicit PackFixture(const TinyModelOptions& options) {
    TinyModel(options).write(directory / "m");
  }

  [[nodiscard]] std::string path(const std::string& name) const {
    return (directory / name).string();
  }
  void quantize(const std::vector<std::string>& recipe) const {
    std::vector<std::string> words{"quantize",  path("m"), "--out",  path("q"),
                                   "--threads", "1",       "--force"};
    words.insert(words.end(), recipe.begin(), recipe.end());
    (void)output_of(words);
  }
  [[nodiscard]] std::vector<std::string> pack(const std::string& out = "p",
                                              const std::string& threads = "1") const {
    return {"pack", path("q"), "--out", path(out), "--threads", threads, "--force"};
  }

  TemporaryDirectory directory;
};

engine::Model load(const std::filesystem::path& directory, PackedAccess access,
                   const Execution& execution = {}) {
  return engine::Checkpoint(directory, access).load(execution);
}

Matrix<float> logits(const engine::Model& model) {
  const std::vector<std::int32_t> tokens{1, 2, 3, 5, 8, 13, 21, 34, 55, 89};
  return engine::Decoder(model, {}).logits(tokens, 5);
}

}  // namespace

TEST_CASE("a packed model gives the logits of the checkpoint it was made from, bit for bit") {
  const PackFixture fixture({.kv_heads = 4,
                             .biased = {"self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"},
                             .dtype = DType::F16});
  const std::vector<std::vector<std::string>> recipes{
      {"--format", "int4", "--group-size", "32"},
      {"--format", "uint3", "--group-size", "20"},
      {"--format", "nf4", "--scales", "bf16"},
      {"--format", "ternary"},
      {"--format", "int8"},
      {"--format", "w8a8-dynamic"},
      {"--format", "w4a8-dynamic"},
      {"--format", "w4a8-dynamic", "--output-layer", "int8"},
      {"--format", "int4", "--output-layer", "int8"},
      {"--format", "w8a8-static", "--activation-zero-point"},
      {"--method", "gptq", "--act-order", "--no-static-groups", "--group-size", "32"},
      {"--method", "gptq", "--group-size", "32", "--save-as", "gptq"},
      {"--method", "gptq", "--format", "uint4", "--act-order", "--no-static-groups", "--group-size",
       "32", "--save-as", "gptq"},
      {"--format", "uint4", "--group-size", "32", "--save-as", "awq"},
  };
  ThreadPool threads(2);
  for (const auto& recipe : recipes) {
    CAPTURE(recipe);
    fixture.quantize(recipe);
    CHECK_THAT(output_of(fixture.pack()), ContainsSubstring("2 blocks packed"));
    const bool has_head = std::count(recipe.begin(), recipe.end(), "--output-layer") > 0;
    CHECK(count_files(fixture.path("p"), ".pack") == (has_head ? 3 : 2));
    CHECK(count_files(fixture.path("p"), ".safetensors") == 1);

    const engine::Model source = load(fixture.path("q"), PackedAccess::load);
    const engine::Model loaded =
        load(fixture.path("p"), PackedAccess::load, {.parallel_for = threads});
    const engine::Model mapped = load(fixture.path("p"), PackedAccess::map);
    const Matrix<float> expected = logits(source);
    CHECK(bit_differences(logits(loaded), expected) == 0);
    CHECK(bit_differences(logits(mapped), expected) == 0);
    CHECK(loaded.head->is_packed() == has_head);
    CHECK(loaded.head->packed() == source.head->packed());
    CHECK(loaded.head->activations() == source.head->activations());
    for (std::size_t b = 0; b < source.blocks.size(); ++b)
      for (std::size_t l = 0; l < source.blocks[b].linears.size(); ++l) {
        const engine::Linear &from = source.blocks[b].linears[l], &to = loaded.blocks[b].linears[l];
        CHECK(to.packed() == from.packed());
        CHECK(to.activations() == from.activations());
        CHECK(to.bias().size() == from.bias().size());
      }
    const auto is_mapped = [](const engine::Linear& linear) {
      return linear.packed()->visit([](const auto& w) { return w.storage().is_shared(); });
    };
    CHECK_FALSE(is_mapped(loaded.blocks[1].linears[6]));
    CHECK(is_mapped(mapped.blocks[1].linears[6]));
  }
}

TEST_CASE("pruned int8 is packed without its zeros where a layout holds the pattern") {
  const struct {
    const char* pattern;
    const char* layout;
  } cases[] = {{"2:4", "2:4"},
               {"blocks-32x4", "blocks-32x4"},
               {"blocks-16x4", "blocks-16x4"},
               {"4:8", "dense"}};
  for (const auto& c : cases) {
    CAPTURE(c.pattern);
    PackFixture fixture({.hidden = 128, .intermediate = 256, .heads = 4, .head_dim = 32});
    (void)output_of({"prune", fixture.path("m"), "--out", fixture.path("s"), "--score", "magnitude",
                     "--pattern", c.pattern});
    (void)output_of(
        {"quantize", fixture.path("s"), "--out", fixture.path("q"), "--format", "w8a8-dynamic"});
    const std::string printed = output_of(fixture.pack());
    const engine::Model dense = load(fixture.path("q"), PackedAccess::load),
                        packed = load(fixture.path("p"), PackedAccess::load);
    CHECK(packed.blocks[0].linears[4].packed()->layout() == std::string(c.layout));
    if (std::string(c.layout) != "dense")
      CHECK_THAT(printed, ContainsSubstring("without zeros, in layout " + std::string(c.layout)));
    CHECK(max_difference(logits(packed), logits(dense)) < 1e-5);
    CHECK(max_difference(logits(load(fixture.path("p"), PackedAccess::map)), logits(packed)) ==
          0.0);
  }
}

TEST_CASE("an int8 output layer is the model's, rounded; a tied one is refused") {
  for (const bool tied : {false, true}) {
    const PackFixture fixture({.tied = tied});
    const std::vector<std::string> command{"quantize",        fixture.path("m"), "--out",
                                           fixture.path("q"), "--output-layer",  "int8"};
    if (tied) {
      CHECK_THAT(run_pare(command).err, ContainsSubstring("its embedding, which stays as it is"));
      CHECK_FALSE(std::filesystem::exists(fixture.path("q")));
      continue;
    }
    (void)output_of(command);
    const engine::Checkpoint original(fixture.path("m")), quantized(fixture.path("q"));
    const auto expected = quantize<Int<8>>(original.head()->dense());
    CHECK(quantized.head()->packed() == AnyPackedMatrix(pack(expected)));
    CHECK_FALSE(quantized.tensors().contains("lm_head.weight"));
    CHECK_THAT(output_of({"inspect", fixture.path("q")}), ContainsSubstring("int8 x float32: "));
  }
}

TEST_CASE("the commands say the same of a packed model, loaded or mapped") {
  const PackFixture fixture({.tied = true, .biased = {"self_attn.k_proj"}, .dtype = DType::BF16});
  write_text(fixture.path("m") + "/generation_config.json", "{}\n");
  fixture.quantize({"--format", "w4a8-dynamic"});
  (void)output_of(fixture.pack());
  CHECK(read_text(fixture.path("p") + "/generation_config.json") == "{}\n");
  const auto eval = [&](const std::string& model, const std::string& reference,
                        const std::vector<std::string>& options) {
    std::vector<std::string> words{
        "eval",     fixture.path(model),    "--reference", fixture.path(reference),
        "--report", fixture.path("r.json"), "--text",      fixture.path("m") + "/eval.txt"};
    words.insert(words.end(), options.begin(), options.end());
    (void)output_of(words);
    return read_json(fixture.path("r.json"));
  };
  const json expected = eval("q", "m", {});
  for (const json& packed : {eval("p", "m", {}), eval("p", "m", {"--map"})})
    for (const char* key : {"perplexity", "bits_per_byte", "kl", "top1"}) {
      CAPTURE(key);
      CHECK(packed[key] == expected[key]);
    }
  CHECK(eval("m", "p", {})["kl"] == eval("m", "q", {})["kl"]);
  const auto text = [&](const std::string& model, const std::vector<std::string>& options) {
    std::vector<std::string> words{"generate", fixture.path(model), "--prompt",
                                   "In the ",  "--length",          "20"};
    words.insert(words.end(), options.begin(), options.end());
    return output_of(words);
  };
  CHECK(text("p", {}) == text("q", {}));
  CHECK(text("p", {"--map"}) == text("q", {}));
}

TEST_CASE("a checkpoint with layers that were not quantized keeps them as they are") {
  const PackFixture fixture({});
  fixture.quantize({"--format", "int4", "--group-size", "32", "--save-as", "gptq"});
  // As GPTQ tools write it that leave out a layer.
  const std::string name = "model.layers.1.mlp.down_proj";
  const std::filesystem::path shard =
      fixture.directory.path() / "q" / "model-00002-of-00003.safetensors";
  std::vector<NamedTensor> tensors;
  {
    const auto reader = SafetensorsReader::open(shard);
    for (const std::string& tensor : reader.names()) {
      if (tensor.starts_with(name)) continue;
      const TensorInfo& info = reader.info(tensor);
      tensors.push_back({tensor, info.dtype, info.shape, {info.bytes.begin(), info.bytes.end()}});
    }
  }
  tensors.push_back(TinyModel().tensor(name + ".weight"));
  write_safetensors(shard, tensors);
  std::filesystem::path index = fixture.directory.path() / "q" / "model.safetensors.index.json";
  json map = read_json(index);
  std::erase_if(map["weight_map"].get_ref<json::object_t&>(),
                [&](const auto& item) { return item.first.starts_with(name); });
  map["weight_map"][name + ".weight"] = shard.filename().string();
  write_json(index, map);

  (void)output_of(fixture.pack());
  const engine::Model packed = load(fixture.path("p"), PackedAccess::load);
  CHECK_FALSE(packed.blocks[1][engine::Role::down].is_packed());
  CHECK(bit_differences(logits(packed), logits(load(fixture.path("q"), PackedAccess::load))) == 0);
}

TEST_CASE("after a kill no broken directory is left, and the same command resumes") {
  constexpr int layers = 10;
  const PackFixture fixture({.layers = layers, .hidden = 128, .intermediate = 384, .head_dim = 32});
  fixture.quantize({"--format", "w8a8-dynamic"});
  (void)output_of(fixture.pack("whole", "2"));
  const auto expected = directory_content(fixture.directory / "whole");
  for (const int blocks : {1, layers / 2, layers - 1}) {
    CAPTURE(blocks);
    bool killed = false;
    for (int attempt = 0; attempt < 20 && !killed; ++attempt) {
      std::filesystem::remove_all(fixture.directory / "p");
      std::filesystem::remove_all(fixture.directory / "p.partial");
      killed = killed_run(fixture.pack(), fixture.directory / "p", ".pack", blocks);
    }
    REQUIRE(killed);
    CHECK(run_pare({"eval", fixture.path("p")}).status == 1);
    const Outcome outcome = run_pare(fixture.pack());
    CHECK(outcome.status == 0);
    CHECK(outcome.err.starts_with("resuming: "));
    CHECK(directory_content(fixture.directory / "p") == expected);
    CHECK_FALSE(exists(fixture.directory / "p.partial"));
  }

  SECTION("of another model it starts afresh, and replaces what was there") {
    (void)killed_run(fixture.pack("r"), fixture.directory / "r", ".pack", 2);  // or it was faster
    fixture.quantize({"--format", "int4"});
    const Outcome outcome = run_pare(fixture.pack("r"));
    CHECK(outcome.status == 0);
    CHECK(outcome.err.find("resuming") == std::string::npos);
    (void)output_of(fixture.pack());  // over the packed model of other weights
    CHECK(directory_content(fixture.directory / "r") == directory_content(fixture.directory / "p"));
    CHECK(directory_content(fixture.directory / "p") != expected);
  }
}
