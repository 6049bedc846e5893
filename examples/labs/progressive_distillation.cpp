// Progressive distillation: from a teacher that is much larger a student may learn less than from
// one that is a little larger. So the demo model's four blocks teach three, and these, the teacher
// assistant, two (Mirzadeh et al., "Improved Knowledge Distillation via Teacher Assistant", 2020);
// beside it two blocks that learn directly, for as many steps in all. Takes a minute; with
// fewer steps than 60 less, on a part of the text.
//
//   progressive_distillation [MODEL [STEPS [TEXT]]]

#include <algorithm>
#include <cstdio>
#include <vector>

#include "labs/students.hpp"

namespace {

void run(const lab::Beginning& lab) {
  const auto learn = [&](const engine::Model& begin, const engine::Model& teacher,
                         std::int64_t steps) {
    return lab::learn(begin, training::parse_objective("ce:0.5,kd:0.5:T=2"), {&teacher}, steps,
                      lab);
  };
  const engine::Model& teacher = lab.model;
  const engine::Model two = lab::with_blocks(teacher, std::vector<pare::Index>{0, 2});
  std::printf("teacher: %.4f bits per byte\n", lab.whole.bits);
  lab::print_student(two, teacher);

  const engine::Model direct = learn(two, teacher, lab.steps);
  lab::show_student("directly", direct, lab);

  // The assistant is a help, not what counts: it learns for a quarter of the steps.
  const std::int64_t first = std::max<std::int64_t>(1, lab.steps / 4);
  const engine::Model assistant =
      learn(lab::with_blocks(teacher, std::vector<pare::Index>{0, 1, 2}), teacher, first);
  lab::show_student("the assistant", assistant, lab);
  const engine::Model through = learn(lab::with_blocks(assistant, std::vector<pare::Index>{0, 2}),
                                      assistant, lab.steps - first);
  lab::show_student("through the assistant", through, lab);

  const double gained = lab::bits_per_byte(direct, lab.text, lab.execution) -
                        lab::bits_per_byte(through, lab.text, lab.execution);
  std::printf("the assistant helps by %.4f bits per byte (expected more than 0: %s)\n", gained,
              gained > 0.0 ? "met" : "missed");
}

}  // namespace

int main(int argc, char** argv) {
  return lab::train_program("progressive_distillation", argc, argv, run);
}
