// Feature distillation: a student of half the demo model's blocks learns not from the teacher's
// answers alone, but from what happens within it: from the hidden states behind those of its blocks
// that are as far into the model (Sun et al., "Patient Knowledge Distillation", 2019), or from how
// tokens relate in its last block, each row of queries, keys and values with each other (Wang et
// al., "MiniLMv2", 2020), which models of other widths can follow, too. Takes two minutes; with
// fewer steps than 60 less, on a part of the text.
//
//   feature_distillation [MODEL [STEPS [TEXT]]]

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
  std::printf("teacher: %.4f bits per byte\n", lab.whole.bits);
  lab::print_student(begin, teacher);
  lab::show_student("untrained", begin, lab);
  for (const auto& [name, loss] : {
           std::pair("logits", "ce:0.5,kd:0.5:T=2"),
           {"logits and hidden states", "ce:0.5,kd:0.5:T=2,hidden:0.5"},
           {"logits and relations", "ce:0.5,kd:0.5:T=2,relations:0.1"},
       })
    lab::show_student(
        name, lab::learn(begin, training::parse_objective(loss), {&teacher}, lab.steps, lab), lab);
}

}  // namespace

int main(int argc, char** argv) {
  return lab::train_program("feature_distillation", argc, argv, run);
}
