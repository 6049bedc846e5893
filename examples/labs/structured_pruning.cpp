// Structured pruning of the demo language model and of the demo vision transformer: half of the
// channels of the feed-forward halves, a quarter of the heads, one block. Parts with the smallest
// weights go, the block that turns hidden states least. Prints quality, beside PyTorch's where
// there is a reference, parameters, and the measured speed-up. Takes half a minute.
//
//   structured_pruning [language|vision]

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "engine/checkpoint.hpp"
#include "engine/encoder.hpp"
#include "labs/bits_per_byte.hpp"
#include "labs/smaller_model.hpp"
#include "pare/core/thread_pool.hpp"
#include "pare/io/mapped_file.hpp"
#include "pare/io/safetensors_reader.hpp"

namespace {

using engine::Model;
using pare::Index;

/// Runs a model over its held-out data, or over little of it, and says how good it is.
using Run = std::function<double(const Model&, bool brief)>;
/// Runs it over calibration data and shows its hidden states.
using Watch = std::function<void(engine::Decoder::HiddenStates)>;

double parameters(const Model& model) {
  double sum = 0.0;
  for (const engine::Block& block : model.blocks)
    for (const engine::Linear& linear : block.linears)
      sum += static_cast<double>(linear.dense().size() + linear.bias().size());
  return sum;
}

/// How many times faster `model` runs than `other`: the median of pairs, one right after the other.
double speed_up(const Run& run, const Model& model, const Model& other) {
  const auto seconds = [&](const Model& m) {
    const auto start = std::chrono::steady_clock::now();
    (void)run(m, true);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::vector<double> ratios;
  for (int pair = 0; pair < 7; ++pair) {
    const double own = seconds(model);
    ratios.push_back(seconds(other) / own);
  }
  std::nth_element(ratios.begin(), ratios.begin() + 3, ratios.end());
  return ratios[3];
}

/// One model, whole and without each structure.
bool study(const char* title, const Model& model, const Run& run, const Watch& watch,
           const double (&expected)[4], const std::function<bool(double, double)>& agrees) {
  const double dense = run(model, false);
  std::printf("%s: %.4f, expected %.4f\n", title, dense, expected[0]);
  const struct {
    const char* name;
    Model model;
  } rows[] = {{"feed-forward 50 %", lab::without_channels(model, engine::feed_forward_axis(), 0.5)},
              {"heads 25 %", lab::without_channels(model, engine::heads_axis, 0.25)},
              {"one block", lab::without_least_block(model, watch)}};
  bool all = agrees(dense, expected[0]);
  for (std::size_t r = 0; r < std::size(rows); ++r) {
    const double quality = run(rows[r].model, false);
    std::printf("  %-18s %.4f, expected %.4f; %.1f %% of the blocks' weights, %.2f times faster\n",
                rows[r].name, quality, expected[r + 1],
                100.0 * parameters(rows[r].model) / parameters(model),
                speed_up(run, rows[r].model, model));
    all = all && agrees(quality, expected[r + 1]);
  }
  return all;
}

bool study_language(const pare::Execution& execution) {
  const std::filesystem::path directory(PARE_DEMO_MODEL_DIR);
  const Model model = engine::Checkpoint(directory).load(execution);
  const auto text = [&](const char* name) {
    const pare::MappedFile file(directory / name);
    return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  };
  const std::string held_out = text("eval.txt"), calibration = text("calib.txt");
  return study(
      "language model, bits per byte", model,
      [&](const Model& m, bool brief) {
        return lab::bits_per_byte(m, brief ? held_out.substr(0, 8 * 256 + 1) : held_out, execution);
      },
      [&](engine::Decoder::HiddenStates see) {
        std::vector<std::int32_t> ids(calibration.begin(), calibration.begin() + 64 * 256);
        (void)engine::Decoder(model, execution).normed(ids, 256, see);
      },
      {1.53697, 1.8654, 2.1077, 2.4636},  // PyTorch
      [](double is, double wanted) { return std::fabs(is / wanted - 1.0) < 0.01; });
}

bool study_vision(const pare::Execution& execution) {
  const auto directory = std::filesystem::path(PARE_DEMO_MODEL_DIR).parent_path() / "demo-digits";
  const Model model = engine::Checkpoint(directory).load(execution);
  const auto read = [&](const char* name) {
    const auto file = pare::SafetensorsReader::open(directory / name);
    engine::ModelInputs inputs{.length = model.config.max_positions};
    const auto values = file.read_as<float>("pixel_values");
    const Index images = file.info("pixel_values").shape[0];
    inputs.pixels = pare::Matrix<float>({images, std::ssize(values) / images});
    std::copy(values.begin(), values.end(), inputs.pixels.data());
    return inputs;
  };
  const engine::ModelInputs held_out = read("eval.safetensors"), seen = read("calib.safetensors");
  const auto labels =
      pare::SafetensorsReader::open(directory / "eval.safetensors").read_as<std::int64_t>("labels");
  return study(
      "vision transformer, share of digits told (at least what is expected)", model,
      [&](const Model& m, bool) {
        const auto logits = engine::Encoder(m, execution).run(held_out).logits.at("logits");
        Index right = 0;
        for (Index i = 0; i < logits.rows(); ++i)
          right += std::max_element(&logits(i, 0), &logits(i, 0) + logits.cols()) - &logits(i, 0) ==
                   labels[static_cast<std::size_t>(i)];
        return static_cast<double>(right) / static_cast<double>(logits.rows());
      },
      [&](engine::Decoder::HiddenStates see) {
        (void)engine::Encoder(model, execution).run(seen, see);
      },
      {0.997, 0.95, 0.95, 0.9}, [](double is, double wanted) { return is >= wanted; });
}

}  // namespace

int main(int argc, char** argv) {
  try {
    pare::ThreadPool pool;
    const pare::Execution execution{.parallel_for = pool};
    const std::string only = argc > 1 ? argv[1] : "";
    const bool language = only == "vision" || study_language(execution);
    const bool vision = only == "language" || study_vision(execution);
    std::printf("agrees with the references: %s\n", language && vision ? "yes" : "no");
    return language && vision ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "structured_pruning: %s\n", error.what());
    return 1;
  }
}
