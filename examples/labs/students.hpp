#pragma once

#include <cstdio>
#include <utility>
#include <vector>

#include "labs/expectation.hpp"
#include "labs/smaller_model.hpp"
#include "labs/speed_up.hpp"
#include "labs/trained_model.hpp"

namespace lab {

/// What a course expects of a student.
inline constexpr Expectation of_student{3.0, 95.0};

/// "student: 1.31 million weights, 2.0 times smaller (expected 3: missed)".
inline void print_student(const engine::Model& student, const engine::Model& teacher) {
  std::printf("student: blocks of %.2f million weights, ", parameters(student) / 1e6);
  print_size(parameters(teacher) / parameters(student), of_student);
  std::printf("\n");
}

/// How good and how fast a student is beside the model that the lab begins with.
inline void show_student(const char* name, const engine::Model& student, const Beginning& lab) {
  const double bits = bits_per_byte(student, lab.text, lab.execution);
  const auto reads = [&](const engine::Model& model) {
    return [&] { (void)bits_per_byte(model, lab.text.substr(0, 1025), lab.execution); };
  };
  std::printf("%-34s %.4f bits per byte, %.1f times faster, ", name, bits,
              speed_up(reads(student), reads(lab.model), lab.in_part));
  print_quality(100.0 * lab.whole.bits / bits, of_student);
}

/// What `begin` becomes that learns by an objective, of teachers where it has to do with them.
[[nodiscard]] inline engine::Model learn(const engine::Model& begin,
                                         std::vector<training::WeightedTerm> objective,
                                         std::vector<const engine::Model*> teachers,
                                         std::int64_t steps, const Beginning& lab) {
  training::LanguageModel<float> student(begin);
  training::Trainer trainer(student, lab.batches, std::move(objective), std::move(teachers),
                            training::make_adamw(),
                            {.rate = {.peak = 1e-3, .warm_up = steps / 10, .steps = steps}});
  train(trainer, steps, lab.execution);
  return student.to_engine(begin);
}

}  // namespace lab
