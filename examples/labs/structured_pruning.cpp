// Structured pruning of the demo language model and of the demo vision transformer: half of the
// channels of the feed-forward halves, a quarter of the heads, one block. Parts with the smallest
// weights go, the block that turns hidden states least. Prints quality, beside PyTorch's where
// there is a reference, parameters, and the measured speed-up. Takes half a minute.
//
//   structured_pruning [language|vision]

#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/checkpoint.hpp"
#include "labs/bits_per_byte.hpp"
#include "labs/labelled_images.hpp"
#include "labs/smaller_model.hpp"
#include "labs/speed_up.hpp"
#include "labs/texts.hpp"
#include "pare/core/thread_pool.hpp"

namespace {

using engine::Model;
using pare::Index;

/// Runs a model over its held-out data, or over little of it, and says how good it is.
using Run = std::function<double(const Model&, bool brief)>;
/// Runs it over calibration data and shows its hidden states.
using Watch = std::function<void(engine::Decoder::HiddenStates)>;

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
  const auto briefly = [&](const Model& m) { return [&] { (void)run(m, true); }; };
  bool all = agrees(dense, expected[0]);
  for (std::size_t r = 0; r < std::size(rows); ++r) {
    const double quality = run(rows[r].model, false);
    std::printf("  %-18s %.4f, expected %.4f; %.1f %% of the blocks' weights, %.2f times faster\n",
                rows[r].name, quality, expected[r + 1],
                100.0 * lab::parameters(rows[r].model) / lab::parameters(model),
                lab::speed_up(briefly(rows[r].model), briefly(model)));
    all = all && agrees(quality, expected[r + 1]);
  }
  return all;
}

bool study_language(const pare::Execution& execution) {
  const std::filesystem::path directory(PARE_DEMO_MODEL_DIR);
  const Model model = engine::Checkpoint(directory).load(execution);
  const std::string held_out = lab::read_text(directory / "eval.txt");
  const std::vector<std::int32_t> calibration = lab::read_ids(directory / "calib.txt");
  return study(
      "language model, bits per byte", model,
      [&](const Model& m, bool brief) {
        return lab::bits_per_byte(m, brief ? held_out.substr(0, 8 * 256 + 1) : held_out, execution);
      },
      [&](engine::Decoder::HiddenStates see) {
        const auto part = std::span(calibration).first(64 * 256);
        (void)engine::Decoder(model, execution).normed(part, 256, see);
      },
      {1.53697, 1.8654, 2.1077, 2.4636},  // PyTorch
      [](double is, double wanted) { return std::fabs(is / wanted - 1.0) < 0.01; });
}

bool study_vision(const pare::Execution& execution) {
  const auto directory = std::filesystem::path(PARE_DEMO_MODEL_DIR).parent_path() / "demo-digits";
  const Model model = engine::Checkpoint(directory).load(execution);
  const auto held_out = lab::read_images(directory / "eval.safetensors", model),
             seen = lab::read_images(directory / "calib.safetensors", model);
  return study(
      "vision transformer, share of digits told (at least what is expected)", model,
      [&](const Model& m, bool) {
        return lab::accuracy(lab::answers(m, held_out, execution), held_out);
      },
      [&](engine::Decoder::HiddenStates see) {
        (void)engine::Encoder(model, execution).run(seen.inputs, see);
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
