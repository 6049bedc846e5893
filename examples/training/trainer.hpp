#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/model.hpp"
#include "training/batch_source.hpp"
#include "training/language_model.hpp"
#include "training/learning_rate.hpp"
#include "training/moving_average.hpp"
#include "training/objective.hpp"
#include "training/optimizer.hpp"
#include "training/quantized_weights.hpp"
#include "training/teacher_cache.hpp"
#include "training/training_state.hpp"
#include "training/weight_masks.hpp"

namespace training {

/// What a step did.
struct StepReport {
  double loss = 0.0;
  struct Term {
    std::string name;
    double value = 0.0;  ///< without its weight
    /// Of the weighted term with respect to what the model computed: logits and states.
    double gradient_norm = 0.0;
  };
  std::vector<Term> terms;
  double gradient_norm = 0.0;
  double rate = 0.0;
};

/// Which parameters learn.
enum class Trained : std::uint8_t { everything, layers, norms };

struct TrainerOptions {
  LearningRate rate{};
  double clip = 1.0;     ///< of the norm of all gradients; 0 for none
  Index accumulate = 1;  ///< batches a step
  Trained trained = Trained::everything;
  double scale_rate = 0.2;  ///< of quantized layers' scales, on the learning rate
  bool again = false;       ///< blocks are computed again on the way back: less memory
};

/// Trains a model: a loop of parts that know nothing of each other. What is not there is left out.
///
///     Trainer trainer(model, batches, parse_objective("ce:0.5,kd:0.5:T=2"), {&teacher}, options);
///     for (std::int64_t step = 0; step < options.rate.steps; ++step) trainer.step(step,
///     execution);
class Trainer {
 public:
  /// `batches` are a text's for a language model, labelled inputs for a classifier, whose teachers
  /// classify, too.
  ///
  /// Errors    pare::ArgumentError for other batches, a term that lacks a teacher, and teachers of
  ///           another kind or that a term cannot compare
  Trainer(Transformer<float>& model, BatchSource batches, std::vector<WeightedTerm> objective,
          std::vector<const engine::Model*> teachers, std::unique_ptr<Optimizer> optimizer,
          const TrainerOptions& options);

  /// Layers that are rounded to codes on their way.
  void quantize(QuantizedWeights weights);
  /// Weights that are removed before or while others learn. Throws pare::ArgumentError where
  /// layers are rounded, too, and the masks make copies.
  void mask(WeightMasks masks);
  /// The model that comes out is a moving average of what was learned. The last call before steps.
  void average(double momentum) { average_.emplace(trainables_, momentum); }

  /// Teachers are asked what is not in the cache, which is kept there. Throws pare::ArgumentError
  /// when a term reads more than that, see top_k_temperature, or the cache is of other batches.
  void cache(std::unique_ptr<TeacherCache> answers);

  /// One step of the optimizer. Throws pare::NumericError, before anything is changed, when the
  /// loss or a gradient is not finite; it names the term.
  StepReport step(std::int64_t number, const pare::Execution& execution);

  /// Parameters are as operations read them once `steps` are done: to look on.
  void show(std::int64_t steps, const pare::Execution& execution);
  /// After the last step: the same of what comes out.
  void settle(const pare::Execution& execution);

  /// What a training goes on from, beside trainables and what the optimizer remembers:
  /// where it lies until the next step.
  [[nodiscard]] std::vector<StatePart> state_parts();

  [[nodiscard]] std::vector<Trainable>& trainables() noexcept { return trainables_; }
  [[nodiscard]] Optimizer& optimizer() noexcept { return *optimizer_; }
  [[nodiscard]] const QuantizedWeights& quantized() const noexcept { return quantized_; }
  [[nodiscard]] const WeightMasks& masks() const noexcept { return masks_; }

 private:
  /// What the teachers say of a batch.
  [[nodiscard]] std::vector<Lesson::Teacher> ask(const TrainingBatch& batch, std::int64_t number,
                                                 const pare::Execution& execution);
  [[nodiscard]] bool learns(std::size_t parameter) const;
  void find_trainables();

  Transformer<float>& model_;
  BatchSource batches_;
  std::vector<WeightedTerm> objective_;
  std::vector<const engine::Model*> teachers_;
  /// The same where terms look into their blocks, and what they compute.
  std::vector<std::unique_ptr<LanguageModel<float>>> open_teachers_;
  std::vector<Pass<float>> teacher_passes_;
  std::unique_ptr<Optimizer> optimizer_;
  TrainerOptions options_;
  QuantizedWeights quantized_;
  WeightMasks masks_;
  std::optional<MovingAverage> average_;
  std::unique_ptr<TeacherCache> cache_;
  std::vector<Trainable> trainables_;
  Pass<float> pass_;
  PassGradients<float> gradients_, of_term_;
};

}  // namespace training
