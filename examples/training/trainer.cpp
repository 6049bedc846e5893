#include "training/trainer.hpp"

#include <algorithm>
#include <cmath>

#include "pare/core/error.hpp"

namespace training {

Trainer::Trainer(LanguageModel<float>& model, const TextBatches& batches,
                 std::vector<WeightedTerm> objective, std::vector<const engine::Model*> teachers,
                 std::unique_ptr<Optimizer> optimizer, const TrainerOptions& options)
    : model_(model),
      batches_(batches),
      objective_(std::move(objective)),
      teachers_(std::move(teachers)),
      optimizer_(std::move(optimizer)),
      options_(options) {
  for (const WeightedTerm& term : objective_) {
    if (term.term->needs_teacher() && teachers_.empty())
      throw pare::ArgumentError("the loss " + term.name +
                                " compares with a teacher, and there is none");
    for (const engine::Model* teacher : teachers_)
      term.term->require_fit(model_.config(), teacher->config);
  }
  find_trainables();
}

bool Trainer::learns(std::size_t parameter) const {
  if (options_.trained == Trained::everything) return true;
  const std::vector<std::size_t> layers = model_.layers();
  const bool is_layer = std::find(layers.begin(), layers.end(), parameter) != layers.end();
  return options_.trained == Trained::layers ? is_layer
                                             : model_.parameters()[parameter].value.rows() == 1;
}

void Trainer::find_trainables() {
  trainables_.clear();
  for (std::size_t p = 0; p < model_.parameters().size(); ++p) {
    Parameter<float>& parameter = model_.parameters()[p];
    if (learns(p))
      trainables_.push_back(
          {parameter.name, parameter.value.span(), parameter.gradient.span(), parameter.decays});
  }
  for (Trainable& scales : quantized_.scales(model_, options_.scale_rate))
    trainables_.push_back(std::move(scales));
}

void Trainer::quantize(QuantizedWeights weights) {
  quantized_ = std::move(weights);
  find_trainables();
}

void Trainer::keep_zeros() {
  masks_.clear();
  for (const std::size_t p : model_.layers())
    masks_.emplace_back(p, pare::nonzero_mask(model_.parameters()[p].value));
}

void Trainer::apply_masks(bool to_gradients) {
  for (const auto& [p, mask] : masks_)
    mask.apply(to_gradients ? model_.parameters()[p].gradient : model_.parameters()[p].value);
}

StepReport Trainer::step(std::int64_t number, const pare::Execution& execution) {
  StepReport report;
  for (const WeightedTerm& term : objective_) report.terms.push_back({term.name});
  const bool needs_hidden =
      std::any_of(objective_.begin(), objective_.end(),
                  [](const WeightedTerm& term) { return term.term->needs_hidden(); });
  const bool needs_teacher =
      std::any_of(objective_.begin(), objective_.end(),
                  [](const WeightedTerm& term) { return term.term->needs_teacher(); });
  quantized_.round(model_, execution);
  model_.zero_gradients();
  for (Index part = 0; part < options_.accumulate; ++part) {
    const TextBatch batch = batches_.at(number * options_.accumulate + part);
    std::vector<Lesson::Teacher> teachers;
    for (const engine::Model* model : teachers_) {
      if (!needs_teacher) break;
      const engine::Decoder decoder(*model, execution);
      Lesson::Teacher& teacher = teachers.emplace_back();
      const auto keep = [&](pare::MatrixView<const float> hidden) {
        if (needs_hidden) teacher.hidden.emplace_back(hidden);
      };
      const auto normed = decoder.normed(batch.inputs, batches_.length(), keep);
      teacher.logits = decoder.head(normed);
    }
    model_.forward(batch.inputs, batches_.length(), pass_, execution, options_.again);
    gradients_.logits.fill(0.0f);
    for (auto& hidden : gradients_.hidden) hidden.fill(0.0f);
    const Lesson lesson{batches_.length(), batch.labels, pass_, teachers,
                        static_cast<double>(options_.accumulate * batches_.tokens())};
    for (std::size_t i = 0; i < objective_.size(); ++i) {
      const double value =
          objective_[i].term->add(lesson, objective_[i].weight, gradients_, execution);
      if (!std::isfinite(value))
        throw pare::NumericError("the loss " + objective_[i].name + " is " + std::to_string(value) +
                                 " at step " + std::to_string(number));
      report.terms[i].value += value;
      report.loss += objective_[i].weight * value;
    }
    model_.backward(pass_, gradients_, execution);
  }
  quantized_.backward(model_, execution);
  apply_masks(true);
  report.gradient_norm = gradient_norm(trainables_, execution);
  if (!std::isfinite(report.gradient_norm))
    throw pare::NumericError("a gradient is not finite at step " + std::to_string(number) +
                             ": a smaller --lr may help");
  report.rate = options_.rate.at(number);
  const double scale = options_.clip > 0.0 && report.gradient_norm > options_.clip
                           ? options_.clip / report.gradient_norm
                           : 1.0;
  optimizer_->step(trainables_, number, report.rate, scale, execution);
  quantized_.keep_scales_usable();
  apply_masks(false);
  return report;
}

void Trainer::settle(const pare::Execution& execution) { quantized_.round(model_, execution); }

}  // namespace training
