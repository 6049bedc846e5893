#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/model.hpp"
#include "training/block.hpp"

namespace training {

/// What a model has computed for a batch of sequences, and the way back needs.
template <Scalar S>
struct Pass {
  std::vector<std::int32_t> ids;
  Index length = 0;  ///< of each sequence
  /// What enters block 0, then what leaves each block: (tokens, hidden).
  std::vector<pare::Matrix<S>> hidden;
  std::vector<BlockState<S>> blocks;  ///< one for all, where they are computed again
  pare::Matrix<S> normed, logits;
};

/// What a loss says about a pass. Matrices that are empty, or left out, are no part of it.
template <Scalar S>
struct PassGradients {
  pare::Matrix<S> logits;
  std::vector<pare::Matrix<S>> hidden;                     ///< as Pass::hidden
  std::map<std::size_t, AttentionGradients<S>> attention;  ///< by block
};

/// A decoder of the engine with gradients: the same description, the same logits.
///
///     LanguageModel<float> model(engine_model);
///     Pass<float> pass;
///     model.forward(ids, length, pass, execution);      // pass.logits
///     PassGradients<float> gradients;                   // what a loss fills
///     model.zero_gradients();
///     model.backward(pass, gradients, execution);       // adds to model.parameters()[i].gradient
template <Scalar S>
class LanguageModel {
 public:
  /// Copies the weights of a model in memory.
  ///
  /// Errors    pare::ArgumentError for encoders, mixtures of experts and layers that are quantized
  explicit LanguageModel(const engine::Model& model);
  LanguageModel(const LanguageModel&) = delete;
  LanguageModel& operator=(const LanguageModel&) = delete;

  [[nodiscard]] const engine::ModelConfig& config() const noexcept { return config_; }
  [[nodiscard]] std::vector<Parameter<S>>& parameters() noexcept { return parameters_; }
  [[nodiscard]] const std::vector<Parameter<S>>& parameters() const noexcept { return parameters_; }
  [[nodiscard]] const std::vector<TrainedBlock>& blocks() const noexcept { return blocks_; }
  /// Parameters of the linear layers of the blocks, by their number: what is quantized and pruned.
  [[nodiscard]] std::vector<std::size_t> layers() const;

  void zero_gradients();

  /// Computes pass.hidden and pass.logits of sequences of `length` tokens each. Where `again` is
  /// set, blocks keep what entered them only, and `backward` computes the rest anew: less memory, a
  /// third more work, the same gradients.
  ///
  /// Errors    pare::ArgumentError for a token outside the vocabulary, no tokens, and positions
  ///           beyond those that were learned
  void forward(std::span<const std::int32_t> ids, Index length, Pass<S>& pass,
               const pare::Execution& execution, bool again = false);
  void backward(Pass<S>& pass, const PassGradients<S>& gradients, const pare::Execution& execution);

  /// The engine's model with the values of today: what operations read, where that differs.
  [[nodiscard]] engine::Model to_engine(const engine::Model& like) const;

 private:
  std::size_t add(std::string name, pare::Matrix<S> value, bool decays);
  NormParameters add(const std::string& name, const engine::Norm& norm);
  LinearParameters add(const std::string& name, const engine::Linear& linear);
  void embed(Pass<S>& pass, const pare::Execution& execution);

  engine::ModelConfig config_;
  std::vector<Parameter<S>> parameters_;
  std::size_t embedding_ = 0;
  float embedding_scale_ = 1.0f;
  ParameterIndex positions_;
  std::vector<TrainedBlock> blocks_;
  NormParameters final_norm_;
  std::optional<LinearParameters> head_;  ///< none: tied to the embedding
  BlockTrainer<S> trainer_;
  pare::Matrix<S> dlogits_, dnormed_, dx_[2];
};

extern template class LanguageModel<float>;
extern template class LanguageModel<double>;
extern template class LanguageModel<Dual<double>>;

}  // namespace training
