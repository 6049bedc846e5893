// Post-training quantization of the demo vision transformer: its layers in 8 and in 4 bits, with
// one scale a matrix or one for each output channel. What enters the layers is rounded to 8 bits
// as well, so that products are of integers: dynamically, each token by its largest value, or by
// a range that an observer has chosen from calibration images, which costs nothing when the model
// runs. Prints the size of the layers, the speed, how far logits are from the float model's, and
// the share of digits told beside what a course expects. Takes seconds; with a number of images, of
// the 359 held out, less.
//
//   post_training_quantization [IMAGES]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "engine/checkpoint.hpp"
#include "labs/expectation.hpp"
#include "labs/labelled_images.hpp"
#include "labs/layer_inputs.hpp"
#include "labs/program.hpp"
#include "labs/speed_up.hpp"
#include "pare/calibration/entropy_observer.hpp"
#include "pare/calibration/min_max_observer.hpp"
#include "pare/calibration/mse_observer.hpp"
#include "pare/calibration/percentile_observer.hpp"
#include "pare/quantization/quantize.hpp"

namespace {

using engine::Model;
using pare::Index;

/// How what enters a block's layers is rounded, by site; none said: each token by itself.
using Ranges = std::vector<std::map<engine::Site, pare::ActivationOptions>>;

/// The ranges that observers like `unused` choose, one for each site.
template <pare::Observer O>
Ranges observe(const O& unused, const Model& model, const engine::ModelInputs& calibration,
               const pare::Execution& execution) {
  Ranges ranges(model.blocks.size());
  lab::for_each_block(model, calibration, execution,
                      [&](std::size_t b, const auto&, const lab::LayerInputs& inputs) {
                        for (const auto& [site, x] : inputs) {
                          O observer = unused;
                          observer.observe(x);
                          ranges[b][site].scale = observer.template params<pare::Int<8>>().scale;
                        }
                      });
  return ranges;
}

struct Rounded {
  Model model;
  double times_smaller = 0.0;  // the layers, than in float32
};

template <pare::Format F>
Rounded round(const Model& model, const pare::BlockShape& blocks, const Ranges& ranges) {
  Rounded rounded{model};
  double before = 0.0, after = 0.0;
  for (std::size_t b = 0; b < model.blocks.size(); ++b) {
    engine::Block& block = rounded.model.blocks[b];
    for (std::size_t i = 0; i < block.linears.size(); ++i) {
      const auto codes = pare::quantize<F>(block.linears[i].dense(), {.blocks = blocks});
      before += 4.0 * static_cast<double>(codes.codes().size());
      after += static_cast<double>(codes.bytes());
      pare::ActivationOptions activations;
      if (!ranges.empty()) activations = ranges[b].at(block.description.linears[i].site);
      block.linears[i].replace(codes, activations);
    }
  }
  rounded.times_smaller = before / after;
  return rounded;
}

void run(const std::filesystem::path& directory, Index limit, const pare::Execution& execution) {
  const Model model = engine::Checkpoint(directory).load(execution);
  lab::LabelledImages images = lab::read_images(directory / "eval.safetensors", model);
  images.inputs = images.inputs.slice(0, std::min(limit, images.inputs.count()));
  const auto seen = lab::read_images(directory / "calib.safetensors", model).inputs;
  const auto runs = [&](const Model& m) {
    return [&] { (void)lab::answers(m, images, execution); };
  };
  const pare::Matrix<float> float_answers = lab::answers(model, images, execution);
  const double float_accuracy = lab::accuracy(float_answers, images);
  std::printf("float: %.2f %% of %td digits told\n", 100.0 * float_accuracy, images.inputs.count());

  const auto show = [&](const char* name, const Rounded& rounded, lab::Expectation expected) {
    const pare::Matrix<float> answers = lab::answers(rounded.model, images, execution);
    const double accuracy = lab::accuracy(answers, images);
    std::printf("  %-32s ", name);
    lab::print_size(rounded.times_smaller, expected);
    std::printf(", %.2f times faster, logits off by %4.1f %%, %.2f %% told, ",
                lab::speed_up(runs(rounded.model), runs(model)),
                100.0 * lab::relative_error(answers, float_answers), 100.0 * accuracy);
    lab::print_quality(100.0 * accuracy / float_accuracy, expected);
  };
  const auto tensor = pare::BlockShape::tensor(), channel = pare::BlockShape::row();
  const lab::Expectation eight{4.0, 98.0}, four{8.0, 95.0};
  using Int8 = pare::Int<8>;
  using Int4 = pare::Int<4>;
  std::printf("int8 weights:\n");
  show("a scale a matrix, dynamic x", round<Int8>(model, tensor, {}), eight);
  show("a scale a channel, dynamic x", round<Int8>(model, channel, {}), eight);
  const auto show_static = [&](const char* name, const auto& observer) {
    const Ranges ranges = observe(observer, model, seen, execution);
    show(name, round<Int8>(model, channel, ranges), eight);
  };
  show_static("a channel, x by min-max", pare::MinMaxObserver());
  show_static("a channel, x by percentile 99.99", pare::PercentileObserver());
  show_static("a channel, x by least error", pare::MseObserver());
  show_static("a channel, x by entropy", pare::EntropyObserver());
  std::printf("int4 weights:\n");
  show("a scale a matrix, dynamic x", round<Int4>(model, tensor, {}), four);
  show("a scale a channel, dynamic x", round<Int4>(model, channel, {}), four);
  std::printf("scales count: codes alone are 4 and 8 times smaller\n");
}

}  // namespace

int main(int argc, char** argv) {
  return lab::program("post_training_quantization", [&](const pare::Execution& execution) {
    run(std::filesystem::path(PARE_DEMO_MODEL_DIR).parent_path() / "demo-digits",
        argc > 1 ? std::atol(argv[1]) : 359, execution);
  });
}
