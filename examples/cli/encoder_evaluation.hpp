#pragma once

#include <functional>
#include <optional>

#include "cli/model_inputs.hpp"
#include "engine/encoder.hpp"

namespace cli {

/// How well an encoder does what it is for, and how close it stays to another one.
struct EncoderQuality {
  /// The share of labelled inputs whose label has the largest logit.
  std::optional<double> accuracy{};
  /// Mean KL(reference || model) in nats per row of logits, and the share of rows whose largest
  /// logit is the same; only with a reference, of models that have logits.
  std::optional<double> kl{}, top1{};
  /// Mean cosine similarity of embeddings to the reference's; only with a reference, of models
  /// without a head.
  std::optional<double> cosine{};
  Index inputs = 0;
};

/// What an encoder makes of `count` inputs from `first` on.
using EncoderRun = std::function<engine::EncoderOutputs(Index first, Index count)>;

/// Measures encoders on one set of inputs against one float model, whose answers are kept.
class EncoderEvaluator {
 public:
  /// `inputs` must outlive this. Throws ArgumentError for labels that are no classes of the model.
  EncoderEvaluator(const LabelledInputs& inputs, const engine::Model* reference,
                   pare::Execution execution);

  [[nodiscard]] EncoderQuality measure(const engine::Model& model);
  /// Of whatever runs the model's inputs; `listener` is told the share that is done.
  [[nodiscard]] EncoderQuality measure(const EncoderRun& run, const engine::Model& model,
                                       const std::function<void(double fraction)>& listener);

 private:
  /// Logits, or embeddings where the model has no head.
  [[nodiscard]] pare::Matrix<float> answers(const EncoderRun& run,
                                            const std::function<void(double)>& listener) const;
  [[nodiscard]] pare::Matrix<float> answers(const engine::Model& model) const;
  [[nodiscard]] EncoderQuality judge(const pare::Matrix<float>& own,
                                     const engine::Model& model) const;

  const LabelledInputs& inputs_;
  const engine::Model* reference_;
  pare::Execution execution_;
  pare::Matrix<float> reference_answers_;
};

}  // namespace cli
