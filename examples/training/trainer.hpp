#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/model.hpp"
#include "pare/formats/mask.hpp"
#include "training/learning_rate.hpp"
#include "training/objective.hpp"
#include "training/optimizer.hpp"
#include "training/quantized_weights.hpp"
#include "training/text_batches.hpp"

namespace training {

/// What a step did.
struct StepReport {
  double loss = 0.0;
  struct Term {
    std::string name;
    double value = 0.0;  ///< without its weight
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
  Trainer(LanguageModel<float>& model, const TextBatches& batches,
          std::vector<WeightedTerm> objective, std::vector<const engine::Model*> teachers,
          std::unique_ptr<Optimizer> optimizer, const TrainerOptions& options);

  /// Layers that are rounded to codes on their way.
  void quantize(QuantizedWeights weights);
  /// What is zero now stays zero.
  void keep_zeros();

  /// One step of the optimizer. Throws pare::NumericError, before anything is changed, when the
  /// loss or a gradient is not finite; it names the term.
  StepReport step(std::int64_t number, const pare::Execution& execution);

  /// After the last step, or where a state was loaded: parameters are as operations read them.
  void settle(const pare::Execution& execution);

  [[nodiscard]] std::vector<Trainable>& trainables() noexcept { return trainables_; }
  [[nodiscard]] Optimizer& optimizer() noexcept { return *optimizer_; }
  [[nodiscard]] const QuantizedWeights& quantized() const noexcept { return quantized_; }

 private:
  [[nodiscard]] bool learns(std::size_t parameter) const;
  void find_trainables();
  void apply_masks(bool to_gradients);

  LanguageModel<float>& model_;
  const TextBatches& batches_;
  std::vector<WeightedTerm> objective_;
  std::vector<const engine::Model*> teachers_;
  std::unique_ptr<Optimizer> optimizer_;
  TrainerOptions options_;
  QuantizedWeights quantized_;
  std::vector<std::pair<std::size_t, pare::Mask>> masks_;
  std::vector<Trainable> trainables_;
  Pass<float> pass_;
  PassGradients<float> gradients_;
};

}  // namespace training
