#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/checkpoint.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

const fs::path models = fs::path(PARE_TEST_DATA_DIR) / "models";

/// Random models as transformers saves them, with what it answers (float32, eager attention).
constexpr const char* model_names[] = {"llama",
                                       "llama_bias",
                                       "llama_rope_dynamic",
                                       "llama_rope_linear",
                                       "llama_rope_llama3",
                                       "llama_rope_yarn",
                                       "llama_rope_yarn_options",
                                       "mistral",
                                       "qwen2",
                                       "qwen2_window"};

/// The smallest of many typical mistakes moves an answer by 1e-3.
constexpr double tolerance = 1e-4;

std::vector<std::int32_t> tokens(const SafetensorsReader& file, const char* name) {
  const auto ids = file.read_as<std::int64_t>(name);
  return {ids.begin(), ids.end()};
}

void check_answers(const fs::path& model_directory, const SafetensorsReader& expected) {
  const engine::Model model = engine::Checkpoint(model_directory).load();
  const auto ids = tokens(expected, "input_ids"), next = tokens(expected, "decode_ids");
  engine::Decoder decoder(model, {});
  const auto length = static_cast<Index>(ids.size());
  const Matrix<float> logits = expected.read_matrix("logits");
  CHECK(max_difference(decoder.logits(ids, length), logits) < tolerance);

  const Matrix<float> decoded = expected.read_matrix("decode_logits");
  decoder.start(length + static_cast<Index>(next.size()));
  CHECK(max_difference(decoder.extend(ids), logits.view().slice(0, length - 1, 1)) < tolerance);
  for (std::size_t i = 0; i < next.size(); ++i)
    CHECK(max_difference(decoder.extend(std::span(next).subspan(i, 1)),
                         decoded.view().slice(0, static_cast<Index>(i), 1)) < tolerance);

  // Positions that depend on the length of the text.
  if (expected.contains("short_ids")) {
    const auto few = tokens(expected, "short_ids");
    CHECK(max_difference(decoder.logits(few, static_cast<Index>(few.size())),
                         expected.read_matrix("short_logits")) < tolerance);
  }
  if (expected.contains("whole_logits")) {
    auto all = ids;
    all.insert(all.end(), next.begin(), next.end());
    const Matrix<float> whole = decoder.logits(all, static_cast<Index>(all.size()));
    CHECK(max_difference(whole.view().slice(0, length, static_cast<Index>(next.size())),
                         expected.read_matrix("whole_logits")) < tolerance);
  }
}

}  // namespace

TEST_CASE("models of every family answer as transformers does, in both spellings of config.json") {
  for (const char* name : model_names)
    for (const char* config : {"config.json", "config-v4.json"}) {
      CAPTURE(name, config);
      const fs::path source = models / name;
      const auto expected = SafetensorsReader::open(source / "expected.safetensors");
      const TemporaryDirectory directory;
      fs::copy_file(source / "model.safetensors", directory / "model.safetensors");
      fs::copy_file(source / config, directory / "config.json");
      check_answers(directory.path(), expected);
    }
}

TEST_CASE("typical mistakes in what a configuration says are seen") {
  using Kind = engine::RopeParameters::Kind;
  struct Mistake {
    const char* model;
    const char* what;
    void (*make)(engine::Model&);
  };
  const Mistake mistakes[] = {
      {"mistral", "a window of one more",
       [](auto& m) {
         for (auto& b : m.blocks) ++b.window;
       }},
      {"mistral", "no window",
       [](auto& m) {
         for (auto& b : m.blocks) b.window = engine::no_window;
       }},
      {"qwen2_window", "a window in all layers",
       [](auto& m) { m.blocks.front().window = m.blocks.back().window; }},
      {"llama_rope_linear", "no stretching", [](auto& m) { m.config.rope.kind = Kind::plain; }},
      {"llama_rope_llama3", "all stretched", [](auto& m) { m.config.rope.kind = Kind::linear; }},
      {"llama_rope_llama3", "an end of the blend",
       [](auto& m) { m.config.rope.high_frequency_factor = 8.0; }},
      {"llama_rope_yarn", "sines as they are", [](auto& m) { m.config.rope.magnitude = 1.0f; }},
      {"llama_rope_yarn_options", "whole ends of the ramp",
       [](auto& m) { m.config.rope.truncate = !m.config.rope.truncate; }},
      {"llama_rope_dynamic", "theta as it was", [](auto& m) { m.config.rope.kind = Kind::plain; }},
      {"llama", "another theta", [](auto& m) { m.config.rope.theta = 20000.0f; }},
  };
  for (const Mistake& mistake : mistakes) {
    CAPTURE(mistake.model, mistake.what);
    const auto expected = SafetensorsReader::open(models / mistake.model / "expected.safetensors");
    engine::Model model = engine::Checkpoint(models / mistake.model).load();
    mistake.make(model);
    const auto ids = tokens(expected, "input_ids");
    const Matrix<float> logits =
        engine::Decoder(model, {}).logits(ids, static_cast<Index>(ids.size()));
    CHECK(max_difference(logits, expected.read_matrix("logits")) > 2.0 * tolerance);
  }
}
