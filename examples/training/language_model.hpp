#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "training/transformer.hpp"

namespace training {

/// A decoder of the engine with gradients: the same description, the same logits.
///
///     LanguageModel<float> model(engine_model);
///     Pass<float> pass;
///     model.forward(ids, length, pass, execution);      // pass.logits
///     PassGradients<float> gradients;                   // what a loss fills
///     model.zero_gradients();
///     model.backward(pass, gradients, execution);       // adds to model.parameters()[i].gradient
template <Scalar S>
class LanguageModel final : public Transformer<S> {
 public:
  /// Copies the weights of a model in memory.
  ///
  /// Errors    pare::ArgumentError for encoders, mixtures of experts and layers that are quantized
  explicit LanguageModel(const engine::Model& model);

  [[nodiscard]] Index classes() const override { return this->config_.vocab_size; }

  /// Of sequences of `length` tokens each: see Transformer.
  ///
  /// Errors    pare::ArgumentError for a token outside the vocabulary, no tokens, and positions
  ///           beyond those that were learned
  void forward(std::span<const std::int32_t> ids, Index length, Pass<S>& pass,
               const pare::Execution& execution, bool again = false);
  void forward(const engine::ModelInputs& inputs, Pass<S>& pass, const pare::Execution& execution,
               bool again = false) override {
    forward(inputs.ids, inputs.length, pass, execution, again);
  }
  void backward(Pass<S>& pass, const PassGradients<S>& gradients,
                const pare::Execution& execution) override;

  [[nodiscard]] engine::Model to_engine(const engine::Model& like) const override;

 private:
  std::optional<LinearParameters> head_;  ///< none: tied to the embedding
  pare::Matrix<S> dlogits_, dlast_;
};

extern template class LanguageModel<float>;
extern template class LanguageModel<double>;
extern template class LanguageModel<Dual<double>>;

}  // namespace training
