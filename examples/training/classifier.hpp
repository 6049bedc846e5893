#pragma once

#include <optional>
#include <vector>

#include "training/transformer.hpp"

namespace training {

/// An encoder of the engine that classifies texts or images, with gradients: the same description,
/// the same logits (the mean of those of all heads).
///
///     Classifier<float> model(engine_model);
///     Pass<float> pass;
///     model.forward(inputs, pass, execution);           // pass.logits: (sequences, classes)
///     PassGradients<float> gradients;                   // what a loss fills
///     model.zero_gradients();
///     model.backward(pass, gradients, execution);       // adds to model.parameters()[i].gradient
template <Scalar S>
class Classifier final : public Transformer<S> {
 public:
  /// Copies the weights of a model in memory; a pooler that no head reads is left out.
  ///
  /// Errors    pare::ArgumentError for decoders, encoders that classify nothing, heads that say
  ///           something of every token, and layers that are quantized
  explicit Classifier(const engine::Model& model);

  [[nodiscard]] Index classes() const override { return classes_; }

  /// See Transformer. Images have as many tokens as the model cuts them into, whatever
  /// inputs.length is.
  ///
  /// Errors    pare::ArgumentError for no inputs, images of another size, tokens, types and
  ///           positions that the model does not know, and a sequence of which no token is seen
  void forward(const engine::ModelInputs& inputs, Pass<S>& pass, const pare::Execution& execution,
               bool again = false) override;
  void backward(Pass<S>& pass, const PassGradients<S>& gradients,
                const pare::Execution& execution) override;

  [[nodiscard]] engine::Model to_engine(const engine::Model& like) const override;

 private:
  struct Head {
    engine::HeadDescription description;
    struct Layer {
      LinearParameters linear;
      NormParameters norm;
    };
    std::vector<Layer> layers;
  };

  void take_text(const engine::ModelInputs& inputs, Pass<S>& pass) const;
  void take_images(const engine::ModelInputs& inputs, Pass<S>& pass,
                   const pare::Execution& execution);
  void images_back(const Pass<S>& pass, pare::MatrixView<const S> dx,
                   const pare::Execution& execution);
  [[nodiscard]] NormView<S> view_of(const NormParameters& norm, Index width) const {
    return {this->config_.norm, width, this->read(norm.weight), this->read(norm.bias)};
  }
  /// The logits of a head.
  pare::MatrixView<const S> head_forward(const Head& head, pare::MatrixView<const S> input,
                                         typename ClassifierState<S>::Head& state,
                                         const pare::Execution& execution) const;
  /// The gradient of what it read.
  pare::MatrixView<S> head_back(const Head& head, pare::MatrixView<const S> dlogits,
                                const typename ClassifierState<S>::Head& state,
                                const pare::Execution& execution);

  Index classes_ = 0;
  LinearParameters projection_;  ///< of patches
  std::vector<std::size_t> first_tokens_;
  std::optional<LinearParameters> pooler_;
  std::vector<Head> heads_;
  pare::Matrix<S> projected_, dprojected_, dlogits_, dlast_, dpooled_, dpooler_input_, d_[4];
};

extern template class Classifier<float>;
extern template class Classifier<double>;
extern template class Classifier<Dual<double>>;

}  // namespace training
