// Weight-only quantization of the demo language model: its layers in 4 and in 3 bits, in groups of
// 64. Writing text reads every weight for every byte, so that small weights are what counts there.
// Rounding to nearest knows the weights alone. GPTQ makes up for the error of each column in those
// that follow, by the moments of what enters the layer (Frantar et al., 2022); AWQ scales up the
// columns that read large values before it rounds, and clips (Lin et al., 2023). SmoothQuant, the
// other way round, lets large inputs be divided, so that weights and inputs both fit 8 bits (Xiao
// et al., 2022). Takes a minute; with fewer calibration windows than 64 less, on a part of
// the text.
//
//   weight_only_quantization [MODEL [WINDOWS]]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>

#include "engine/checkpoint.hpp"
#include "labs/bits_per_byte.hpp"
#include "labs/expectation.hpp"
#include "labs/layer_inputs.hpp"
#include "labs/program.hpp"
#include "labs/scaled_inputs.hpp"
#include "labs/speed_up.hpp"
#include "labs/texts.hpp"
#include "pare/quantization/gptq.hpp"
#include "pare/quantization/quantize.hpp"

namespace {

using engine::Block;
using engine::Model;
using pare::Index;

constexpr Index group = 64, window = 256;

/// A model's layers as codes, and the bits of these.
struct Compressed {
  Model model;
  double bits = 0.0, weights = 0.0;

  void replace(engine::Linear& layer, const pare::AnyQuantizedMatrix& codes,
               std::optional<pare::ActivationOptions> activations = {}) {
    bits += 8.0 * static_cast<double>(codes.bytes());
    weights += static_cast<double>(codes.rows() * codes.cols());
    layer.replace(codes, activations);
  }
};

/// Makes codes of a block whose layers read `inputs`.
using Method = std::function<void(const engine::BlockRunner& runner, Compressed&, Block&,
                                  const lab::LayerInputs& inputs)>;

template <pare::Format F>
void nearest(const engine::BlockRunner&, Compressed& into, Block& block, const lab::LayerInputs&) {
  for (engine::Linear& layer : block.linears)
    into.replace(layer, pare::quantize<F>(layer.dense(), {.group_size = group}));
}

template <pare::Format F>
void gptq(const engine::BlockRunner& runner, Compressed& into, Block& block,
          const lab::LayerInputs& inputs) {
  for (const auto& [site, x] : inputs) {
    pare::Hessian moments(x.cols());
    moments.add(x, runner.execution());
    for (const std::size_t i : block.description.at(site))
      into.replace(block.linears[i],
                   pare::gptq<F>(block.linears[i].dense(), moments,
                                 {.group_size = group, .act_order = true}, runner.execution()));
  }
}

template <pare::Format F>
void awq(const engine::BlockRunner& runner, Compressed& into, Block& block,
         const lab::LayerInputs& inputs) {
  lab::scale_and_clip<F>(runner, block, inputs, window, {.group_size = group});
  for (engine::Linear& layer : block.linears)
    into.replace(layer, pare::quantize<F>(layer.dense(), {.group_size = group,
                                                          .range = {.extend_to_zero = false}}));
}

/// Weights in 8 bits, and what enters the layers, token by token.
void int8(const engine::BlockRunner&, Compressed& into, Block& block, const lab::LayerInputs&) {
  for (engine::Linear& layer : block.linears)
    into.replace(layer, pare::quantize<pare::Int<8>>(layer.dense()), pare::ActivationOptions{});
}

void smooth_int8(const engine::BlockRunner& runner, Compressed& into, Block& block,
                 const lab::LayerInputs& inputs) {
  lab::smooth(runner.config(), block, inputs);
  int8(runner, into, block, inputs);
}

void run(const std::filesystem::path& directory, Index windows, const pare::Execution& execution) {
  const Model model = engine::Checkpoint(directory).load(execution);
  const engine::BlockRunner runner(model.config, execution);
  const bool in_part = windows < 64;
  const std::string text = lab::read_text(directory / "eval.txt", in_part);
  engine::ModelInputs calibration{.length = window, .ids = lab::read_ids(directory / "calib.txt")};
  calibration = calibration.slice(0, std::min(windows, calibration.count()));

  const auto reads = [&](const Model& m) {
    return [&] { (void)lab::bits_per_byte(m, text.substr(0, 2 * window + 1), execution); };
  };
  const auto writes = [&](const Model& m) {
    return [&] {
      engine::Decoder decoder(m, execution);
      decoder.start(32);
      for (std::int32_t byte = 32; byte < 64; ++byte) (void)decoder.extend({&byte, 1});
    };
  };
  const double float_bits = lab::bits_per_byte(model, text, execution);
  std::printf("float: %.4f bits per byte\n", float_bits);
  const auto show = [&](const char* name, const Method& method, lab::Expectation expected) {
    Compressed small{model};
    lab::for_each_block(small.model, calibration, execution,
                        [&](std::size_t, Block& block, const lab::LayerInputs& inputs) {
                          method(runner, small, block, inputs);
                        });
    const double bits = lab::bits_per_byte(small.model, text, execution);
    std::printf("%-14s %.2f bits a weight, ", name, small.bits / small.weights);
    lab::print_size(32.0 * small.weights / small.bits, expected);
    std::printf(", reads %.2f and writes %.2f times as fast; %.4f bits per byte, ",
                lab::speed_up(reads(small.model), reads(model), in_part),
                lab::speed_up(writes(small.model), writes(model), in_part), bits);
    lab::print_quality(100.0 * float_bits / bits, expected);
  };
  const lab::Expectation eight{4.0, 98.0}, four{8.0, 95.0};
  using UInt4 = pare::UInt<4>;
  using UInt3 = pare::UInt<3>;
  show("uint4 nearest", nearest<UInt4>, four);
  show("uint4 GPTQ", gptq<UInt4>, four);
  show("uint4 AWQ", awq<UInt4>, four);
  show("uint3 nearest", nearest<UInt3>, four);
  show("uint3 GPTQ", gptq<UInt3>, four);
  show("uint3 AWQ", awq<UInt3>, four);
  show("w8a8", int8, eight);
  show("w8a8 smooth", smooth_int8, eight);
}

}  // namespace

int main(int argc, char** argv) {
  return lab::program("weight_only_quantization", [&](const pare::Execution& execution) {
    run(argc > 1 ? argv[1] : PARE_DEMO_MODEL_DIR, argc > 2 ? std::atol(argv[2]) : 64, execution);
  });
}
