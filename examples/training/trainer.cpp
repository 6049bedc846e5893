#include "training/trainer.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/encoder.hpp"
#include "pare/core/error.hpp"

namespace training {
namespace {

/// Calls use(matrix of `a`, matrix of `b`) for all that both hold, in a fixed order; what `a` holds
/// and `b` does not is made there.
template <class Use>
void for_each_gradient(PassGradients<float>& a, PassGradients<float>& b, const Use& use) {
  const auto both = [&](pare::Matrix<float>& in_a, pare::Matrix<float>& in_b) {
    if (in_b.shape() != in_a.shape()) in_b = pare::Matrix<float>(in_a.shape());
    use(in_a, in_b);
  };
  both(a.logits, b.logits);
  b.hidden.resize(a.hidden.size());
  for (std::size_t i = 0; i < a.hidden.size(); ++i) both(a.hidden[i], b.hidden[i]);
  for (auto& [block, d] : a.attention) {
    AttentionGradients<float>& other = b.attention[block];
    both(d.queries, other.queries);
    both(d.keys, other.keys);
    both(d.values, other.values);
  }
}

/// Adds the gradients of a term to those of all, and makes them 0. Returns the sum of their
/// squares.
double take_gradients(PassGradients<float>& of_term, PassGradients<float>& all,
                      const pare::Execution& execution) {
  double total = 0.0;
  for_each_gradient(of_term, all, [&](pare::Matrix<float>& from, pare::Matrix<float>& to) {
    pare::Vector<double> squares({from.rows()});
    execution.parallel_for(from.rows(), [&](Index i) {
      for (Index j = 0; j < from.cols(); ++j) {
        squares[i] += static_cast<double>(from(i, j)) * static_cast<double>(from(i, j));
        to(i, j) += std::exchange(from(i, j), 0.0f);
      }
    });
    for (Index i = 0; i < from.rows(); ++i) total += squares[i];
  });
  return total;
}

}  // namespace

Trainer::Trainer(Transformer<float>& model, BatchSource batches,
                 std::vector<WeightedTerm> objective, std::vector<const engine::Model*> teachers,
                 std::unique_ptr<Optimizer> optimizer, const TrainerOptions& options)
    : model_(model),
      batches_(batches),
      objective_(std::move(objective)),
      teachers_(std::move(teachers)),
      optimizer_(std::move(optimizer)),
      options_(options) {
  const bool classifies = model_.config().encoder.has_value();
  if (batches_.is_text() == classifies)
    throw pare::ArgumentError(classifies ? "a classifier learns from labelled inputs, not a text"
                                         : "a language model learns from a text, not labelled "
                                           "inputs");
  const auto reads_images = [](const engine::ModelConfig& config) {
    return config.encoder && config.encoder->image;
  };
  for (const engine::Model* teacher : teachers_)
    if (teacher->config.encoder.has_value() != classifies || classes_of(*teacher) == 0 ||
        reads_images(teacher->config) != reads_images(model_.config()))
      throw pare::ArgumentError("a teacher of the family " + teacher->config.family +
                                (classifies ? " does not classify as the student does"
                                            : " is no language model as the student is"));
  for (const WeightedTerm& term : objective_) {
    if (term.term->needs_teacher() && teachers_.empty())
      throw pare::ArgumentError("the loss " + term.name +
                                " compares with a teacher, and there is none");
    for (const engine::Model* teacher : teachers_)
      term.term->require_fit({model_.config(), model_.classes()},
                             {teacher->config, classes_of(*teacher)});
  }
  if (std::any_of(objective_.begin(), objective_.end(),
                  [](const WeightedTerm& term) { return term.term->needs_attention(); }))
    for (const engine::Model* teacher : teachers_)
      open_teachers_.push_back(std::make_unique<LanguageModel<float>>(*teacher));
  teacher_passes_.resize(open_teachers_.size());
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

void Trainer::mask(WeightMasks masks) {
  if (masks.makes_copies() && !quantized_.empty())
    throw pare::ArgumentError(
        "weights are removed by movement or rounded, not both: quantize what was pruned");
  masks_ = std::move(masks);
}

void Trainer::cache(std::unique_ptr<TeacherCache> answers) {
  const double temperature = top_k_temperature(objective_);
  const TeacherCacheOptions& held = answers->options();
  if (held.temperature != temperature || held.tokens != batches_.rows() ||
      held.classes != model_.classes())
    throw pare::ArgumentError(
        "the cache of the teacher is of other batches, classes or another "
        "temperature than what is trained");
  cache_ = std::move(answers);
}

std::vector<Lesson::Teacher> Trainer::ask(const TrainingBatch& batch, std::int64_t number,
                                          const pare::Execution& execution) {
  const auto any = [&](auto needs) {
    return std::any_of(objective_.begin(), objective_.end(),
                       [&](const WeightedTerm& term) { return needs(*term.term); });
  };
  std::vector<Lesson::Teacher> answers;
  if (!any([](const LossTerm& term) { return term.needs_teacher(); })) return answers;
  const bool needs_hidden = any([](const LossTerm& term) { return term.needs_hidden(); });
  const auto count = static_cast<std::int64_t>(teachers_.size());
  for (std::int64_t t = 0; t < count; ++t) {
    Lesson::Teacher& teacher = answers.emplace_back();
    if (cache_ && (teacher.top = cache_->read(number * count + t))) continue;
    if (!open_teachers_.empty()) {
      // Its last block alone is looked into.
      Pass<float>& pass = teacher_passes_[static_cast<std::size_t>(t)];
      open_teachers_[static_cast<std::size_t>(t)]->forward(batch.inputs, pass, execution, true);
      teacher.logits = pass.logits;
      if (needs_hidden) teacher.hidden = pass.hidden;
      teacher.last_block = &pass.blocks.back();
      continue;
    }
    const engine::Model& model = *teachers_[static_cast<std::size_t>(t)];
    const auto keep = [&](pare::MatrixView<const float> hidden) {
      if (needs_hidden) teacher.hidden.emplace_back(hidden);
    };
    if (model.config.encoder) {
      engine::ModelInputs inputs = batch.inputs;
      if (const auto& image = model.config.encoder->image) inputs.length = image->tokens();
      teacher.logits = engine::Encoder(model, execution).run(inputs, keep).logits.at("logits");
    } else {
      const engine::Decoder decoder(model, execution);
      teacher.logits = decoder.head(decoder.normed(batch.inputs.ids, batch.inputs.length, keep));
    }
    if (cache_) teacher.top = cache_->write(number * count + t, teacher.logits, execution);
  }
  return answers;
}

StepReport Trainer::step(std::int64_t number, const pare::Execution& execution) {
  StepReport report;
  for (const WeightedTerm& term : objective_) report.terms.push_back({term.name});
  show(number, execution);
  model_.zero_gradients();
  for (Index part = 0; part < options_.accumulate; ++part) {
    const TrainingBatch batch = batches_.at(number * options_.accumulate + part);
    const std::vector<Lesson::Teacher> teachers =
        ask(batch, number * options_.accumulate + part, execution);
    model_.forward(batch.inputs, pass_, execution, options_.again);
    for_each_gradient(gradients_, of_term_, [](pare::Matrix<float>& all, pare::Matrix<float>& own) {
      all.fill(0.0f);
      own.fill(0.0f);
    });
    const Lesson lesson{pass_.length, batch.labels, pass_, teachers,
                        static_cast<double>(options_.accumulate * batches_.rows())};
    for (std::size_t i = 0; i < objective_.size(); ++i) {
      const double value =
          objective_[i].term->add(lesson, objective_[i].weight, of_term_, execution);
      if (!std::isfinite(value))
        throw pare::NumericError("the loss " + objective_[i].name + " is " + std::to_string(value) +
                                 " at step " + std::to_string(number));
      report.terms[i].value += value;
      report.terms[i].gradient_norm += take_gradients(of_term_, gradients_, execution);
      report.loss += objective_[i].weight * value;
    }
    model_.backward(pass_, gradients_, execution);
  }
  for (StepReport::Term& term : report.terms) term.gradient_norm = std::sqrt(term.gradient_norm);
  quantized_.backward(model_, execution);
  report.rate = options_.rate.at(number);
  report.gradient_norm = gradient_norm(trainables_, execution);
  if (!std::isfinite(report.gradient_norm))
    throw pare::NumericError("a gradient is not finite at step " + std::to_string(number) +
                             ": a smaller --lr may help");
  if (!masks_.empty()) {
    masks_.mask_gradients(model_, report.rate, execution);
    report.gradient_norm = gradient_norm(trainables_, execution);
  }
  const double scale = options_.clip > 0.0 && report.gradient_norm > options_.clip
                           ? options_.clip / report.gradient_norm
                           : 1.0;
  optimizer_->step(trainables_, number, report.rate, scale, execution);
  quantized_.keep_scales_usable();
  masks_.mask_values(model_, execution);
  if (average_) average_->update(trainables_, number, execution);
  return report;
}

void Trainer::show(std::int64_t steps, const pare::Execution& execution) {
  masks_.prepare(model_, steps, execution);
  quantized_.round(model_, execution);
}

void Trainer::settle(const pare::Execution& execution) {
  if (average_) average_->take(trainables_);
  show(options_.rate.steps, execution);
}

std::vector<StatePart> Trainer::state_parts() {
  std::vector<StatePart> parts;
  masks_.add_parts(model_, parts);
  if (average_) average_->add_parts(trainables_, parts);
  return parts;
}

}  // namespace training
