// Quantization-aware training of the demo language model: its layers in 3 and in 2 bits, in groups
// of 64, rounded to nearest and then trained to answer as the float model does. Rounding has no
// useful gradient: it is passed straight through, and the scales of the groups learn with the
// weights (Esser et al., "Learned step size quantization", 2020). Takes a minute; fewer steps
// than 60 are measured on a part of the text.
//
//   quantization_aware_training [MODEL [STEPS [TEXT]]]

#include <cstdio>

#include "labs/trained_model.hpp"
#include "pare/quantization/quantize.hpp"

namespace {

constexpr pare::Index group = 64;

/// What a course expects of training: less than 2 % of the quality is lost.
constexpr lab::Expectation expected{.percent = 98.0};

struct Setting {
  const char* name;
  double rate;
};

template <pare::Format F>
void train_codes(const Setting& setting, const lab::Beginning& lab) {
  const engine::Model& teacher = lab.model;
  const pare::Execution& execution = lab.execution;
  training::LanguageModel<float> student(teacher);
  training::QuantizedWeights weights;
  double stored = 0.0, count = 0.0;
  for (const std::size_t p : student.layers()) {
    const auto codes =
        pare::quantize<F>(student.parameters()[p].value, {.group_size = group}, execution);
    stored += static_cast<double>(codes.bytes());
    count += static_cast<double>(codes.codes().size());
    weights.add(p, codes);
  }
  training::Trainer trainer(
      student, lab.batches, training::parse_objective("kd"), {&teacher},
      training::make_adamw({.weight_decay = 0.0}),
      {.rate = {.peak = setting.rate, .warm_up = lab.steps / 10, .steps = lab.steps},
       .trained = training::Trained::layers});
  trainer.quantize(std::move(weights));
  trainer.settle(execution);
  std::printf("%s: %.2f bits a weight, %.1f times smaller than float32\n", setting.name,
              8.0 * stored / count, 4.0 * count / stored);
  const auto show = [&](const char* when) {
    const auto measured = lab::measure(student.to_engine(teacher), lab.text, execution);
    std::printf("  %-8s %.4f bits per byte, ", when, measured.bits);
    lab::print_quality(100.0 * lab.whole.bits / measured.bits, expected);
  };
  show("nearest");
  lab::train(trainer, lab.steps, execution);
  show("trained");
}

void run(const lab::Beginning& lab) {
  std::printf("float: %.4f bits per byte, %.0f tokens/s\n", lab.whole.bits,
              static_cast<double>(lab.text.size()) / lab.whole.seconds);
  train_codes<pare::UInt<3>>({"uint3", 1e-4}, lab);
  train_codes<pare::UInt<2>>({"uint2", 3e-4}, lab);
  std::printf(
      "speed is that of the packed codes: pare train --quantize uint3:64, then pare bench\n");
}

}  // namespace

int main(int argc, char** argv) {
  return lab::train_program("quantization_aware_training", argc, argv, run);
}
