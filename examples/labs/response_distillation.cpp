// Response distillation: a student of half the demo model's blocks, the first and the third, learns
// the text again: from the text alone, and from its teacher's answers as well, whose probabilities
// of all next bytes say more than the one that came (Hinton et al., "Distilling the Knowledge in a
// Neural Network", 2015). Takes a minute; with fewer steps than 60 less, on a part
// of the text.
//
//   response_distillation [MODEL [STEPS]]

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "engine/checkpoint.hpp"
#include "labs/trained_model.hpp"
#include "pare/core/thread_pool.hpp"
#include "pare/distillation/layer_map.hpp"

namespace {

/// What a course expects: 3 to 10 times smaller at more than 95 % of the quality.
constexpr double expected_percent = 95.0;

/// The teacher with every second block, the first ones of pairs.
engine::Model half_of(const engine::Model& teacher) {
  engine::Model student = teacher.without_blocks();
  const auto layers = std::ssize(teacher.blocks);
  student.config.blocks.clear();
  for (const pare::Index layer : pare::first_of_group_map(layers / 2, layers)) {
    student.blocks.push_back(teacher.blocks[static_cast<std::size_t>(layer)]);
    student.config.blocks.push_back(teacher.config.block(layer));
  }
  student.config.layers = layers / 2;
  return student;
}

double million_weights(const engine::Model& model) {
  double count = 0.0;
  for (const engine::Block& block : model.blocks)
    for (const engine::Linear& layer : block.linears)
      count += static_cast<double>(layer.dense().size());
  return count / 1e6;
}

int run(const std::filesystem::path& directory, std::int64_t steps) {
  pare::ThreadPool pool;
  const pare::Execution execution{.parallel_for = pool};
  const lab::Beginning lab(directory, steps, execution);
  const engine::Model& teacher = lab.model;
  const engine::Model begin = half_of(teacher);
  std::printf("teacher: %.4f bits per byte, blocks of %.2f million weights\n", lab.whole.bits,
              million_weights(teacher));
  const auto show = [&](const char* name, const engine::Model& model) {
    const auto measured = lab::measure(model, lab.text, execution);
    std::printf("%-34s %.4f bits per byte, %.1f times faster, ", name, measured.bits,
                lab.whole.seconds / measured.seconds);
    lab::print_quality(lab.whole.bits, measured.bits, expected_percent);
  };
  std::printf("student: %.2f million, %.1f times smaller\n", million_weights(begin),
              million_weights(teacher) / million_weights(begin));
  show("untrained", begin);
  for (const auto& [name, loss] : {std::pair("learned from the text", "ce"),
                                   {"learned from text and teacher", "ce:0.5,kd:0.5:T=2"}}) {
    training::LanguageModel<float> student(begin);
    training::Trainer trainer(student, lab.batches, training::parse_objective(loss), {&teacher},
                              training::make_adamw(),
                              {.rate = {.peak = 1e-3, .warm_up = steps / 10, .steps = steps}});
    lab::train(trainer, steps, execution);
    show(name, student.to_engine(begin));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : PARE_DEMO_MODEL_DIR, argc > 2 ? std::atol(argv[2]) : 60);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "response_distillation: %s\n", error.what());
    return 1;
  }
}
