#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/checkpoint.hpp"
#include "engine/encoder.hpp"
#include "engine/families/family.hpp"
#include "engine/scale_folding.hpp"
#include "example/oracle_models.hpp"
#include "pare/core/random.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

const fs::path models = fs::path(PARE_TEST_DATA_DIR) / "models";

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

  const auto hidden = expected.read_as<float>("hidden");
  const Index states = length * model.config.hidden_size;
  Index block = 0;
  const Matrix<float> normed = decoder.normed(ids, length, [&](pare::MatrixView<const float> x) {
    CHECK(max_difference(x, MatrixView<const float>(hidden.data() + block * states,
                                                    {length, x.cols()})) < tolerance);
    ++block;
  });
  CHECK(block == model.config.layers + 1);
  CHECK(max_difference(normed, expected.read_matrix("normed")) < tolerance);

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

engine::ModelInputs inputs_of(const SafetensorsReader& file) {
  engine::ModelInputs inputs;
  if (file.contains("pixel_values")) {
    const auto& shape = file.info("pixel_values").shape;
    const auto values = file.read_as<float>("pixel_values");
    inputs.pixels = Matrix<float>({shape[0], shape[1] * shape[2] * shape[3]});
    std::copy(values.begin(), values.end(), inputs.pixels.data());
    return inputs;
  }
  inputs.length = file.info("input_ids").shape[1];
  inputs.ids = tokens(file, "input_ids");
  if (file.contains("token_type_ids")) inputs.types = tokens(file, "token_type_ids");
  for (const auto seen : file.read_as<std::int64_t>("attention_mask"))
    inputs.visible.push_back(seen != 0);
  return inputs;
}

/// All values of a tensor against those of a matrix.
double difference(MatrixView<const float> own, const SafetensorsReader& file, const char* name,
                  Index first = 0) {
  const auto values = file.read_as<float>(name);
  REQUIRE(std::ssize(values) >= first + own.size());
  return max_difference(own,
                        MatrixView<const float>(values.data() + first, {own.rows(), own.cols()}));
}

void check_encoder(const fs::path& model_directory, const SafetensorsReader& expected) {
  const engine::Model model = engine::Checkpoint(model_directory).load();
  engine::ModelInputs inputs = inputs_of(expected);
  if (!inputs.pixels.empty()) inputs.length = model.config.max_positions;
  Index block = 0;
  const engine::EncoderOutputs outputs =
      engine::Encoder(model, {}).run(inputs, [&](MatrixView<const float> x) {
        CHECK(difference(x, expected, "hidden", block * x.size()) < tolerance);
        ++block;
      });
  CHECK(block == model.config.layers + 1);
  const std::pair<const char*, MatrixView<const float>> tensors[] = {
      {"last_hidden_state", outputs.last},
      {"pooler_output", outputs.pooled},
      {"sentence_embedding", outputs.sentence},
      {"sentence_embedding_normalized", outputs.normalized_sentence}};
  for (const auto& [name, own] : tensors) {
    CAPTURE(name);
    if (expected.contains(name)) CHECK(difference(own, expected, name) < tolerance);
  }
  for (const char* name : {"logits", "cls_logits", "distillation_logits"}) {
    CAPTURE(name);
    REQUIRE(expected.contains(name) == outputs.logits.contains(name));
    if (expected.contains(name))
      CHECK(difference(outputs.logits.at(name), expected, name) < tolerance);
  }
}

}  // namespace

TEST_CASE("encoders answer as transformers does, in both spellings of config.json") {
  for (const auto& [name, family, is_encoder] : oracle_models)
    for (const char* config : {"config.json", "config-v4.json"}) {
      if (!is_encoder) continue;
      CAPTURE(name, config);
      const auto expected = SafetensorsReader::open(models / name / "expected.safetensors");
      const TemporaryDirectory directory;
      fs::copy(models / name, directory.path() / "m", fs::copy_options::recursive);
      fs::copy_file(models / name / config, directory.path() / "m" / "config.json",
                    fs::copy_options::overwrite_existing);
      check_encoder(directory.path() / "m", expected);
    }
}

TEST_CASE("decoders answer as transformers does, in both spellings of config.json") {
  for (const auto& [name, family, is_encoder] : oracle_models)
    for (const char* config : {"config.json", "config-v4.json"}) {
      if (is_encoder) continue;
      CAPTURE(name, config);
      const fs::path source = models / name;
      const auto expected = SafetensorsReader::open(source / "expected.safetensors");
      const TemporaryDirectory directory;
      fs::copy_file(source / "model.safetensors", directory / "model.safetensors");
      fs::copy_file(source / config, directory / "config.json");
      check_answers(directory.path(), expected);
    }
}

TEST_CASE("scales that are folded change what blocks compute by nothing but rounding") {
  for (const auto& [name, family, is_encoder] : oracle_models) {
    if (is_encoder) continue;
    CAPTURE(name);
    engine::Model model = engine::Checkpoint(models / name).load();
    const auto expected = SafetensorsReader::open(models / name / "expected.safetensors");
    const auto ids = tokens(expected, "input_ids");
    const auto length = static_cast<Index>(ids.size());
    const Matrix<float> before = engine::Decoder(model, {}).logits(ids, length);
    Random random(7);
    int folded = 0;
    for (Index b = 0; b < model.config.layers; ++b) {
      engine::Block& block = model.blocks[static_cast<std::size_t>(b)];
      for (const engine::Site site : block.description.sites()) {
        if (!engine::producer_of(model.config, block.description, site)) continue;
        // Where experts stand they all read it, and none at that site alone.
        const auto at = block.description.at(site);
        Vector<float> scales({block.linears[at[0]].in_features()});
        for (float& scale : scales) scale = std::exp2(2.0f * random.uniform() - 1.0f);
        engine::fold_scales(model.config, b, block, site, scales,
                            [](const std::string&) { return DType::F32; });
        ++folded;
      }
    }
    CHECK(folded >= (name == std::string("olmo2") ? 1 : 2));
    const float largest = *std::max_element(before.begin(), before.end());
    CHECK(max_difference(engine::Decoder(model, {}).logits(ids, length), before) <
          1e-5 * static_cast<double>(largest));
  }
}

TEST_CASE("every family has a model that it is compared with, and every model a row") {
  std::set<std::string> tested, known, folders, rows;
  for (const OracleModel& model : oracle_models) {
    CAPTURE(model.name);
    tested.insert(model.family);
    rows.insert(model.name);
    CHECK(engine::Checkpoint(directory_of(model)).config().family == model.family);
  }
  for (const engine::Family* family : engine::families()) known.emplace(family->model_type);
  for (const auto& entry : fs::directory_iterator(models))
    folders.insert(entry.path().filename().string());
  CHECK(tested == known);
  CHECK(rows == folders);
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
         for (auto& b : m.blocks) ++b.description.window;
       }},
      {"mistral", "no window",
       [](auto& m) {
         for (auto& b : m.blocks) b.description.window = engine::no_window;
       }},
      {"qwen2_window", "a window in all layers",
       [](auto& m) { m.blocks.front().description.window = m.blocks.back().description.window; }},
      {"llama_rope_linear", "no stretching", [](auto& m) { m.config.ropes[0].kind = Kind::plain; }},
      {"llama_rope_llama3", "all stretched",
       [](auto& m) { m.config.ropes[0].kind = Kind::linear; }},
      {"llama_rope_llama3", "an end of the blend",
       [](auto& m) { m.config.ropes[0].high_frequency_factor = 8.0; }},
      {"llama_rope_yarn", "sines as they are", [](auto& m) { m.config.ropes[0].magnitude = 1.0f; }},
      {"llama_rope_yarn_options", "whole ends of the ramp",
       [](auto& m) { m.config.ropes[0].truncate = !m.config.ropes[0].truncate; }},
      {"llama_rope_dynamic", "theta as it was",
       [](auto& m) { m.config.ropes[0].kind = Kind::plain; }},
      {"llama", "another theta", [](auto& m) { m.config.ropes[0].theta = 20000.0f; }},
      {"phi3_longrope", "the short factors",
       [](auto& m) { m.config.ropes[0].original_positions = 1e9; }},
      {"gemma", "norms that multiply by w",
       [](auto& m) { m.config.norm.kind = engine::NormDescription::Kind::rms; }},
      {"gemma2", "scores without a cap", [](auto& m) { m.config.score_cap = 0.0f; }},
      {"gemma2", "the window in the other blocks",
       [](auto& m) { std::swap(m.blocks[0].description.window, m.blocks[1].description.window); }},
      {"gemma3_text", "one theta for all",
       [](auto& m) {
         for (auto& b : m.blocks) b.description.rope = 0;
       }},
      {"qwen3", "queries as they are",
       [](auto& m) { m.config.query_key_norm = engine::QueryKeyNorm::none; }},
      {"smollm3", "all blocks turn",
       [](auto& m) {
         for (auto& b : m.blocks) b.description.rope = 0;
       }},
      {"gpt_neox", "the approximation of GELU",
       [](auto& m) { m.config.activation = engine::Activation::gelu_tanh; }},
      {"gpt_neox", "one half after the other", [](auto& m) { m.config.parallel = false; }},
      {"cohere", "halves in place of neighbours",
       [](auto& m) { m.config.ropes[0].neighbours = false; }},
      {"granite", "a scale of its own", [](auto& m) { m.config.residual_scale = 1.0f; }},
      {"mixtral", "weights as the router gives them",
       [](auto& m) {
         for (auto& b : m.blocks) b.description.experts->normalized = false;
       }},
      {"qwen2_moe", "one expert for each token",
       [](auto& m) {
         for (auto& b : m.blocks) b.description.experts->chosen = 1;
       }},
      {"gpt2", "no epsilon", [](auto& m) { m.config.norm.epsilon = 0.0f; }},
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
