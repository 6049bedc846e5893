#include "pare/io/weights_file.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using Catch::Matchers::Contains;

TEST_CASE("weights are found under the name that is given, the usual one, or the only one",
          "[weights_file]") {
  struct Case {
    std::vector<std::string> files;
    std::string base_name, found;
  };
  const Case cases[] = {
      {{"model.safetensors"}, "", "model.safetensors"},
      {{"model.safetensors", "model.safetensors.index.json"}, "", "model.safetensors"},
      {{"model.safetensors.index.json", "a.safetensors", "b.safetensors"},
       "",
       "model.safetensors.index.json"},
      {{"gptq_model-4bit-32g.safetensors"}, "", "gptq_model-4bit-32g.safetensors"},
      {{"w.safetensors", "model.safetensors"}, "w", "w.safetensors"},
      {{"w.safetensors.index.json", "x.safetensors", "y.safetensors"},
       "w",
       "w.safetensors.index.json"},
      {{"x.safetensors", "y.safetensors", "w.safetensors.index.json"},
       "",
       "w.safetensors.index.json"},
      {{"model.safetensors"}, "gptq_model-4bit-128g", "model.safetensors"},  // renamed later
      {{"w.safetensors"}, "../w", "w.safetensors"},  // nothing is looked for elsewhere
      {{"adapter_model.safetensors", "w.safetensors"}, "", "w.safetensors"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.found, c.base_name, c.files);
    const test::TemporaryDirectory directory;
    for (const std::string& file : c.files) test::write_text(directory / file, "x");
    CHECK(weights_file(directory.path(), c.base_name) == directory / c.found);
  }
}

TEST_CASE("a directory without weights is described", "[weights_file]") {
  struct Case {
    std::vector<std::pair<std::string, std::string>> files;
    std::string reason;
  };
  const std::string zeros(300, '\0');
  const Case cases[] = {
      {{}, "holds neither model.safetensors nor model.safetensors.index.json"},
      {{{"a.safetensors", "x"}, {"b.safetensors", "x"}},
       "found \"a.safetensors\", \"b.safetensors\""},
      {{{"pytorch_model.bin", "PK\3\4" + zeros}},
       "\"pytorch_model.bin\" is a zip archive, as PyTorch's .bin and .pt checkpoints are: save"},
      {{{"model.bin", "\x80\2" + zeros}}, "\"model.bin\" is a Python pickle"},
      {{{"m.Q4_K_M.gguf", "GGUF" + zeros}}, "\"m.Q4_K_M.gguf\" is a GGUF file"},
      {{{"model.onnx", "\x08\x08\x12\x07pytorch" + zeros}}, "\"model.onnx\" is an ONNX model"},
      {{{"adapter_config.json", "{}"}, {"adapter_model.safetensors", "x"}}, "adapter (LoRA)"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.reason);
    const test::TemporaryDirectory directory;
    for (const auto& [name, bytes] : c.files) test::write_text(directory / name, bytes);
    CHECK_THROWS_AS(weights_file(directory.path()), IoError);
    CHECK_THROWS_WITH(weights_file(directory.path()), Contains(c.reason));
  }
  const test::TemporaryDirectory directory;
  std::filesystem::create_symlink("gone", directory / "model.safetensors");
  CHECK_THROWS_WITH(weights_file(directory.path(), "w"),
                    Contains("nor \"w.safetensors\"") &&
                        Contains("\"model.safetensors\" is a link to a file that is missing"));
}
