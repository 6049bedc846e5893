// Response distillation: a student of half the demo model's blocks, the first and the third, learns
// the text again: from the text alone, and from its teacher's answers as well, whose probabilities
// of all next bytes say more than the one that came (Hinton et al., "Distilling the Knowledge in a
// Neural Network", 2015). Takes a minute; with fewer steps than 60 less, on a part
// of the text.
//
//   response_distillation [MODEL [STEPS [TEXT]]]

#include <cstdio>
#include <utility>

#include "labs/students.hpp"
#include "pare/distillation/layer_map.hpp"

namespace {

void run(const lab::Beginning& lab) {
  const engine::Model& teacher = lab.model;
  const auto layers = std::ssize(teacher.blocks);
  const engine::Model begin =
      lab::with_blocks(teacher, pare::first_of_group_map(layers / 2, layers));
  std::printf("teacher: %.4f bits per byte, blocks of %.2f million weights\n", lab.whole.bits,
              lab::parameters(teacher) / 1e6);
  lab::print_student(begin, teacher);
  lab::show_student("untrained", begin, lab);
  for (const auto& [name, loss] : {std::pair("learned from the text", "ce"),
                                   {"learned from text and teacher", "ce:0.5,kd:0.5:T=2"}})
    lab::show_student(
        name, lab::learn(begin, training::parse_objective(loss), {&teacher}, lab.steps, lab), lab);
}

}  // namespace

int main(int argc, char** argv) {
  return lab::train_program("response_distillation", argc, argv, run);
}
