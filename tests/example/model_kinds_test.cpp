#include <sys/stat.h>

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

const std::string pointer =
    "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4976698672\n";
const std::string zeros(300, '\0');

/// A model's directory, damaged by a test, and every command that reads one.
struct Directory {
  TemporaryDirectory directory;
  std::filesystem::path m = directory / "m";
  Directory() { TinyModel().write(m); }

  [[nodiscard]] std::vector<std::vector<std::string>> commands() const {
    const std::string path = m.string(), good = (directory / "good").string();
    TinyModel().write(directory / "good");
    return {{"inspect", path},
            {"quantize", path, "--out", (directory / "q").string()},
            {"pack", path, "--out", (directory / "p").string()},
            {"eval", path},
            {"eval", good, "--reference", path},
            {"compare", path},
            {"bench", path},
            {"generate", path, "--prompt", "x"}};
  }
};

}  // namespace

TEST_CASE("what is no model is named as what it is by every command, in one line") {
  const struct {
    const char* what;
    std::function<void(const std::filesystem::path&)> damage;
    std::vector<std::string> words;
  } cases[] = {
      {"weights not fetched",
       [](const auto& m) { write_text(m / "model.safetensors", pointer); },
       {"model.safetensors", "Git LFS pointer", "git lfs pull"}},
      {"a configuration not fetched",
       [](const auto& m) { write_text(m / "config.json", pointer); },
       {"config.json", "Git LFS pointer"}},
      {"a page instead of weights",
       [](const auto& m) { write_text(m / "model.safetensors", "<!DOCTYPE html><html>"); },
       {"model.safetensors", "HTML"}},
      {"a shard not fetched",
       [](const auto& m) {
         std::filesystem::remove(m / "model.safetensors");
         TinyModel().write_sharded(m, 2);
         write_text(m / "part-1.safetensors", pointer);
       },
       {"part-1.safetensors", "Git LFS pointer"}},
      {"a FIFO instead of weights",
       [](const auto& m) {
         std::filesystem::remove(m / "model.safetensors");
         REQUIRE(::mkfifo((m / "model.safetensors").c_str(), 0600) == 0);
       },
       {"model.safetensors", "FIFO"}},
      {"a FIFO instead of a configuration",
       [](const auto& m) {
         std::filesystem::remove(m / "config.json");
         REQUIRE(::mkfifo((m / "config.json").c_str(), 0600) == 0);
       },
       {"config.json", "FIFO"}},
      {"PyTorch's files",
       [](const auto& m) {
         std::filesystem::remove(m / "model.safetensors");
         write_text(m / "pytorch_model.bin", "PK\3\4" + zeros);
       },
       {"pytorch_model.bin", "zip archive", "safetensors"}},
      {"a GGUF file alone",
       [](const auto& m) {
         std::filesystem::remove_all(m);
         std::filesystem::create_directories(m);
         write_text(m / "m.gguf", "GGUF" + zeros);
       },
       {"config.json", "m.gguf", "GGUF"}},
      {"a GGUF file for a directory",
       [](const auto& m) {
         std::filesystem::remove_all(m);
         write_text(m, "GGUF" + zeros);
       },
       {"this is a GGUF file"}},
      {"FP8 weights",
       [](const auto& m) {
         TinyModel model;
         auto& tensor = model.tensor("model.layers.0.mlp.up_proj.weight");
         tensor.dtype = DType::F8_E4M3;
         tensor.data.resize(tensor.data.size() / 4);
         model.write(m);
       },
       {"model.layers.0.mlp.up_proj", "F8_E4M3"}},
      {"layers of bitsandbytes without settings",
       [](const auto& m) {
         TinyModel model;
         model.add("model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4", {4}, 0, 1);
         auto& tensor = model.tensor("model.layers.0.mlp.up_proj.weight");
         tensor.dtype = DType::U8;
         tensor.shape = {96 * 64 * 4, 1};
         model.write(m);
       },
       {"model.layers.0.mlp.up_proj", "bitsandbytes"}},
  };
  for (const auto& c : cases) {
    const Directory d;
    c.damage(d.m);
    for (const auto& command : d.commands()) {
      const Outcome outcome = run_pare(command);
      CAPTURE(c.what, command, outcome.err);
      CHECK(outcome.status > 0);
      CHECK(outcome.error_lines() == 1);
      CHECK(outcome.out.empty());
      for (const std::string& word : c.words) CHECK_THAT(outcome.err, ContainsSubstring(word));
    }
  }
}

TEST_CASE("models quantized by other tools are named by their tool") {
  const json cases[] = {
      {{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}},
      {{"quant_method", "compressed-tensors"}, {"format", "pack-quantized"}},
      {{"quant_method", "fp8"}, {"activation_scheme", "dynamic"}},
      {{"quant_method", "mxfp4"}, {"modules_to_not_convert", {"lm_head"}}},
      {{"quant_method", "hqq"}, {"quant_config", json::object()}},
      {{"quant_method", "aqlm"}},
  };
  for (const json& settings : cases) {
    Directory d;
    TinyModel model;
    model.config["quantization_config"] = settings;
    model.write(d.m);
    for (const auto& command : d.commands()) {
      const Outcome outcome = run_pare(command);
      CAPTURE(settings.dump(), command, outcome.err);
      CHECK(outcome.status > 0);
      CHECK(outcome.error_lines() == 1);
      CHECK_THAT(outcome.err, ContainsSubstring("config.json") &&
                                  ContainsSubstring(settings["quant_method"].get<std::string>()) &&
                                  ContainsSubstring("quantize the original model instead"));
    }
  }
}

TEST_CASE("a file of tokens or text that is another kind of file is named") {
  const Directory d;
  const auto fifo = d.directory / "fifo", file = d.directory / "file";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  write_text(file, pointer);
  for (const char* option : {"--tokens", "--text"}) {
    CHECK_THAT(run_pare({"eval", d.m.string(), option, fifo.string()}).err,
               ContainsSubstring("fifo: this is a FIFO"));
    CHECK_THAT(run_pare({"eval", d.m.string(), option, file.string()}).err,
               ContainsSubstring("file: this is a Git LFS pointer"));
    CHECK_THAT(run_pare({"eval", d.m.string(), option, "/dev/zero"}).err,
               ContainsSubstring("/dev/zero: this is a device"));
  }
  write_text(file, "GGUF" + zeros);
  CHECK_THAT(run_pare({"eval", d.m.string(), "--tokens", file.string()}).err,
             ContainsSubstring("outside the vocabulary of 256; the file is a GGUF file"));
}
