#pragma once

#include <map>
#include <optional>
#include <string>

#include "engine/model.hpp"
#include "engine/model_inputs.hpp"

namespace engine {

/// What an encoder makes of some sequences. What the model has no layers for is empty.
struct EncoderOutputs {
  pare::Matrix<float> last;    ///< (sequences * length, hidden), behind the last norm
  pare::Matrix<float> pooled;  ///< (sequences, hidden)
  /// (sequences or sequences * length, classes): "logits", the mean where there are several heads,
  /// which then are there under names of their own.
  std::map<std::string, pare::Matrix<float>> logits;
  pare::Matrix<float> sentence;  ///< (sequences, hidden), of models that pool by the mean
  pare::Matrix<float> normalized_sentence;

  /// What stands for a sequence: the sentence embedding, the pooled output, or the last state of
  /// the first token.
  [[nodiscard]] pare::Matrix<float> embedding(Index length) const;
};

/// Runs an encoder.
class Encoder {
 public:
  using HiddenStates = Decoder::HiddenStates;

  Encoder(const Model& model, const pare::Execution& execution)
      : model_(&model), runner_(model.config, execution) {}

  /// Throws ArgumentError for inputs that the model does not take.
  [[nodiscard]] EncoderOutputs run(const ModelInputs& inputs,
                                   std::optional<HiddenStates> hidden = {}) const;
  /// What becomes of `hidden`, which left the last block when `inputs` were read.
  [[nodiscard]] EncoderOutputs finish(pare::Matrix<float> hidden, const ModelInputs& inputs) const;

 private:
  [[nodiscard]] pare::Matrix<float> logits_of(std::size_t head, const EncoderOutputs& outputs,
                                              Index length) const;

  const Model* model_;
  BlockRunner runner_;
};

}  // namespace engine
