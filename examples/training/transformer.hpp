#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/model.hpp"
#include "engine/model_inputs.hpp"
#include "training/block.hpp"
#include "training/network.hpp"

namespace training {

/// What a classifier computes beside what all models do.
template <Scalar S>
struct ClassifierState {
  pare::Matrix<S> patches;                       ///< of images, flat
  pare::Matrix<S> pooler_input, pooler, pooled;  ///< before tanh and behind it
  /// Of a layer of a head: what leaves it, and this behind its activation and its norm.
  struct Layer {
    pare::Matrix<S> plain, activated, normed;
  };
  struct Head {
    pare::Matrix<S> input;
    std::vector<Layer> layers;
  };
  std::vector<Head> heads;
};

/// What a model has computed for a batch of sequences, and the way back needs.
template <Scalar S>
struct Pass {
  std::vector<std::int32_t> ids, types, positions;  ///< rows of tables; types may be none
  std::vector<std::uint8_t> visible;                ///< see engine::ModelInputs
  Index length = 0;                                 ///< of each sequence
  pare::Matrix<S> embedded;                         ///< before a norm, where there is one
  /// What enters block 0, then what leaves each block: (tokens, hidden).
  std::vector<pare::Matrix<S>> hidden;
  std::vector<BlockState<S>> blocks;  ///< one for all, where they are computed again
  pare::Matrix<S> normed;
  pare::Matrix<S> logits;  ///< of each token, or of each sequence where it is classified
  ClassifierState<S> classifier;
};

/// What a loss says about a pass. Matrices that are empty, or left out, are no part of it.
template <Scalar S>
struct PassGradients {
  pare::Matrix<S> logits;
  std::vector<pare::Matrix<S>> hidden;                     ///< as Pass::hidden
  std::map<std::size_t, AttentionGradients<S>> attention;  ///< by block
};

/// What a model chooses from: tokens of its vocabulary, or classes of an encoder's heads.
[[nodiscard]] Index classes_of(const engine::Model& model);

/// A model of the engine with gradients: what decoders and encoders have in common. `layers()` are
/// the linear layers of the blocks.
template <Scalar S>
class Transformer : public Network<S> {
 public:
  virtual ~Transformer() = default;

  [[nodiscard]] const engine::ModelConfig& config() const noexcept { return config_; }
  [[nodiscard]] const std::vector<TrainedBlock>& blocks() const noexcept { return blocks_; }
  [[nodiscard]] virtual Index classes() const = 0;

  /// Computes pass.hidden and pass.logits. Where `again` is set, blocks keep what entered them
  /// only, and `backward` computes the rest anew: less memory, a third more work, the same
  /// gradients.
  ///
  /// Errors    pare::ArgumentError for inputs that the model does not take
  virtual void forward(const engine::ModelInputs& inputs, Pass<S>& pass,
                       const pare::Execution& execution, bool again = false) = 0;
  virtual void backward(Pass<S>& pass, const PassGradients<S>& gradients,
                        const pare::Execution& execution) = 0;

  /// The engine's model with the values of today: what operations read, where that differs.
  [[nodiscard]] virtual engine::Model to_engine(const engine::Model& like) const = 0;

 protected:
  /// Copies blocks and the norm behind them.
  ///
  /// Errors    pare::ArgumentError for mixtures of experts and layers that are quantized
  explicit Transformer(const engine::ModelConfig& config);
  void add_blocks(const engine::Model& model);
  void add_final_norm(const engine::Model& model);
  /// Tables of tokens, positions and types, and the norm of their sum.
  void add_text_embedding(const engine::Model& model);

  using Network<S>::add;
  NormParameters add(const std::string& name, const engine::Norm& norm);
  LinearParameters add(const std::string& name, const engine::Linear& linear);

  [[nodiscard]] pare::MatrixView<const S> read(ParameterIndex index) const {
    return index ? this->parameters_[*index].read() : pare::MatrixView<const S>();
  }
  [[nodiscard]] pare::MatrixView<S> gradient(ParameterIndex index) {
    return index ? this->parameters_[*index].gradient.view() : pare::MatrixView<S>();
  }
  [[nodiscard]] NormView<S> view(const NormParameters& norm) const {
    return {config_.norm, config_.hidden_size, read(norm.weight), read(norm.bias)};
  }
  void norm_back(const NormParameters& norm, pare::MatrixView<const S> x,
                 pare::MatrixView<const S> dy, pare::MatrixView<S> dx,
                 const pare::Execution& execution) {
    norm_backward<S>(view(norm), x, dy, gradient(norm.weight), gradient(norm.bias), dx, execution);
  }

  /// Throws pare::ArgumentError for rows that the tables do not have.
  void require_rows(const Pass<S>& pass) const;
  /// pass.hidden[0] of rows of the tables, and the way back.
  void embed_text(Pass<S>& pass, const pare::Execution& execution) const;
  void embed_text_back(const Pass<S>& pass, pare::MatrixView<const S> dx,
                       const pare::Execution& execution);
  /// Computes what follows pass.hidden[0]; returns what leaves the last norm.
  pare::MatrixView<const S> run_blocks(Pass<S>& pass, bool again, const pare::Execution& execution);
  /// Gradients of pass.hidden[0], from those of what leaves the last norm (perhaps empty) and those
  /// of what a loss looks at.
  pare::MatrixView<S> blocks_back(Pass<S>& pass, pare::MatrixView<const S> dlast,
                                  const PassGradients<S>& gradients,
                                  const pare::Execution& execution);

  /// Values for the engine.
  template <std::size_t Rank>
  void put(std::size_t parameter, pare::Tensor<float, Rank>& to) const {
    const pare::MatrixView<const S> values = this->parameters_[parameter].read();
    std::transform(values.data(), values.data() + values.size(), to.begin(),
                   [](S x) { return static_cast<float>(value_of(x)); });
  }
  void put(const NormParameters& from, engine::Norm& to) const {
    if (from.weight) put(*from.weight, to.weight);
    if (from.bias) put(*from.bias, to.bias);
  }
  void put(const LinearParameters& from, engine::Linear& to) const {
    put(from.weight, to.dense());
    if (from.bias) put(*from.bias, to.bias());
  }
  /// `like` with the values of blocks, norms and tables.
  [[nodiscard]] engine::Model put_common(const engine::Model& like,
                                         engine::Embedding& embedding) const;

  engine::ModelConfig config_;
  ParameterIndex embedding_, positions_, types_;
  float embedding_scale_ = 1.0f;
  NormParameters embedding_norm_;
  std::vector<TrainedBlock> blocks_;
  NormParameters final_norm_;

 private:
  BlockTrainer<S> trainer_;
  pare::Matrix<S> dembedded_, dx_[2];
};

/// The values of a tensor of the engine, a vector as one row.
template <Scalar S, std::size_t Rank>
[[nodiscard]] pare::Matrix<S> converted(const pare::Tensor<float, Rank>& from) {
  pare::Matrix<S> to(Rank == 2 ? pare::Shape<2>{from.extent(0), from.extent(Rank - 1)}
                               : pare::Shape<2>{1, from.extent(0)});
  std::transform(from.begin(), from.end(), to.begin(), [](float x) { return S(x); });
  return to;
}

extern template class Transformer<float>;
extern template class Transformer<double>;
extern template class Transformer<Dual<double>>;

}  // namespace training
