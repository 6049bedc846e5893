// Multi-teacher distillation: a student of half the demo model's blocks learns from several
// teachers at once, the float model, one in 3 bits and one that has lost half of its weights. They
// can be made one by the mean of their losses, of logits or of probabilities (the first and the
// last are the same to the student: their gradients are), and those count more that are sure of a
// byte (Kwon et al., "Adaptive Knowledge Distillation Based on Entropy", 2020) or that knew it
// (Zhang et al., "Confidence-Aware Multi-Teacher Knowledge Distillation", 2022). Takes a minute;
// with fewer steps than 20 less, on a part of the text.
//
//   multi_teacher_distillation [MODEL [STEPS [TEXT]]]

#include <cstdio>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "labs/students.hpp"
#include "pare/distillation/confidence_weights.hpp"
#include "pare/distillation/entropy_weights.hpp"
#include "pare/distillation/layer_map.hpp"
#include "pare/distillation/soft_targets.hpp"
#include "pare/distillation/teacher_means.hpp"
#include "pare/distillation/teachers_kl.hpp"
#include "pare/pruning/scores/magnitude.hpp"
#include "pare/pruning/selection.hpp"
#include "pare/quantization/quantize.hpp"

namespace {

using pare::MatrixView;
using Logits = std::vector<MatrixView<const float>>;

constexpr double temperature = 2.0;

/// What a loss of several teachers is given, and where its gradient goes.
struct Question {
  MatrixView<const float> student;
  Logits teachers;
  std::vector<pare::Index> labels;
  pare::ResponseOptions options;
  MatrixView<float> gradient;
  const pare::Execution& execution;
};
using Loss = std::function<double(const Question&)>;

double mean_of_losses(const Question& q) {
  return pare::teachers_kl_loss(q.student, q.teachers, {.response = q.options}, q.gradient,
                                q.execution);
}

double mean_of_logits(const Question& q) {
  return pare::kl_loss(q.student, pare::mean_logits(q.teachers), q.options, q.gradient,
                       q.execution);
}

double mean_of_probabilities(const Question& q) {
  return pare::soft_target_kl_loss(q.student, pare::mean_probabilities(q.teachers, temperature),
                                   q.options, q.gradient, q.execution);
}

double weighted(const Question& q, const pare::Matrix<double>& weights) {
  return pare::teachers_kl_loss(q.student, q.teachers,
                                {.weights = {.of_sample = weights}, .response = q.options},
                                q.gradient, q.execution);
}

double by_entropy(const Question& q) {
  pare::Matrix<double> weights = pare::entropy_weights(q.teachers, temperature);
  // The authors' have the sum teachers - 1.
  for (double& weight : weights) weight /= static_cast<double>(weights.rows() - 1);
  return weighted(q, weights);
}

double by_confidence(const Question& q) {
  return weighted(q, pare::confidence_weights(q.teachers, q.labels));
}

/// Such a loss as a term of what the trainer minimizes.
class ManyTeachers final : public training::LossTerm {
 public:
  explicit ManyTeachers(Loss loss) : loss_(std::move(loss)) {}

  double add(const training::Lesson& lesson, double weight,
             training::PassGradients<float>& gradients, const pare::Execution& execution) override {
    const pare::Matrix<float>& student = lesson.student.logits;
    if (gradients.logits.shape() != student.shape())
      gradients.logits = pare::Matrix<float>(student.shape());
    Question question{student, {}, {}, {}, gradients.logits, execution};
    for (const auto& teacher : lesson.teachers) question.teachers.push_back(teacher.logits);
    question.labels.assign(lesson.labels.begin(), lesson.labels.end());
    question.options = {
        .temperature = temperature,
        .common = {.weight = weight, .add_gradient = true, .divisor = lesson.divisor}};
    return loss_(question) / weight;
  }

 private:
  Loss loss_;
};

void run(const lab::Beginning& lab) {
  engine::Model rounded = lab.model, pruned = lab.model;
  for (std::size_t b = 0; b < rounded.blocks.size(); ++b)
    for (std::size_t i = 0; i < rounded.blocks[b].linears.size(); ++i) {
      engine::Linear& layer = rounded.blocks[b].linears[i];
      layer.replace(pare::quantize<pare::UInt<3>>(layer.dense(), {.group_size = 64}), {});
      pare::Matrix<float>& weight = pruned.blocks[b].linears[i].dense();
      pare::select(pare::magnitude_scores(weight), {.sparsity = 0.5}).apply(weight);
    }
  std::printf("teachers: float %.4f bits per byte, uint3 %.4f, half of the weights %.4f\n",
              lab.whole.bits, lab::measure(rounded, lab.text, lab.execution).bits,
              lab::measure(pruned, lab.text, lab.execution).bits);
  const auto layers = std::ssize(lab.model.blocks);
  const engine::Model begin =
      lab::with_blocks(lab.model, pare::first_of_group_map(layers / 2, layers));
  lab::print_student(begin, lab.model);
  const std::vector<const engine::Model*> one{&lab.model}, all{&lab.model, &rounded, &pruned};
  const auto show = [&](const char* name, const auto& teachers, const Loss& loss) {
    std::vector<training::WeightedTerm> objective = training::parse_objective("ce:0.5");
    objective.push_back({"teachers", 0.5, std::make_unique<ManyTeachers>(loss)});
    lab::show_student(name, lab::learn(begin, std::move(objective), teachers, lab.steps, lab), lab);
  };
  show("the float model alone", one, mean_of_losses);
  show("mean of losses", all, mean_of_losses);
  show("mean of logits", all, mean_of_logits);
  show("mean of probabilities", all, mean_of_probabilities);
  show("sure teachers count more", all, by_entropy);
  show("teachers that knew count more", all, by_confidence);
}

}  // namespace

int main(int argc, char** argv) {
  return lab::train_program("multi_teacher_distillation", argc, argv, run, 20);
}
