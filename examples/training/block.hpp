#pragma once

#include <array>
#include <optional>
#include <vector>

#include "engine/block.hpp"
#include "training/operations/activation.hpp"
#include "training/operations/attention.hpp"
#include "training/operations/linear.hpp"
#include "training/operations/norm.hpp"
#include "training/operations/rope.hpp"
#include "training/parameter.hpp"
#include "training/shaped.hpp"

namespace training {

/// Which of a model's parameters something has.
using ParameterIndex = std::optional<std::size_t>;

struct NormParameters {
  ParameterIndex weight, bias;
};
struct LinearParameters {
  std::size_t weight = 0;
  ParameterIndex bias;
};

/// A block of an engine's model whose tensors are parameters.
struct TrainedBlock {
  engine::BlockDescription description;
  std::array<NormParameters, engine::norm_places> norms;
  NormParameters query_norm, key_norm;
  std::vector<LinearParameters> linears;

  [[nodiscard]] const NormParameters& norm(engine::NormPlace place) const {
    return norms[static_cast<std::size_t>(place)];
  }
};

/// What a block has computed on its way forward, and needs on its way back. Memory that a former
/// batch of the same shape has left is used again.
template <Scalar S>
struct BlockState {
  pare::Matrix<S> attention_input, feed_forward_input;  ///< of layers, where a norm is before them
  pare::Matrix<S> plain_queries, plain_keys;            ///< before their norms, where there are any
  pare::Matrix<S> queries, keys, values;                ///< as attention reads them
  pare::Matrix<S> probabilities, mixed;
  pare::Matrix<S> attention_output,
      feed_forward_output;                          ///< before their norms, where there are any
  pare::Matrix<S> attention_sum, feed_forward_sum;  ///< the same of sums
  pare::Matrix<S> middle;                           ///< between the halves
  pare::Matrix<S> gate, up, hidden;
};

/// Gradients of queries, keys and values as attention reads them, that a loss adds: empty for none.
template <Scalar S>
struct AttentionGradients {
  pare::Matrix<S> queries, keys, values;
};

/// Runs blocks of a model forwards and backwards: engine::BlockRunner with gradients.
template <Scalar S>
class BlockTrainer {
 public:
  BlockTrainer(const engine::ModelConfig& config, std::vector<Parameter<S>>& parameters)
      : config_(&config), parameters_(&parameters) {}

  /// For each row of x, 0 where no other token sees it; empty where all are seen. Of encoders.
  using Visible = engine::BlockRunner::Visible;

  /// y = block(x), both (sequences * length, hidden).
  void forward(const TrainedBlock& block, pare::MatrixView<const S> x, Index length,
               BlockState<S>& state, pare::MatrixView<S> y, const pare::Execution& execution,
               Visible visible = {});

  /// dx += the gradient of what entered, x, from that of what left; adds to those of the
  /// parameters.
  void backward(const TrainedBlock& block, pare::MatrixView<const S> x, Index length,
                BlockState<S>& state, pare::MatrixView<const S> dy, pare::MatrixView<S> dx,
                const AttentionGradients<S>* extra, const pare::Execution& execution);

 private:
  using Views = std::array<pare::MatrixView<S>, 7>;  // by engine::Role; empty where not asked for

  [[nodiscard]] Parameter<S>& at(std::size_t index) { return (*parameters_)[index]; }
  [[nodiscard]] pare::MatrixView<const S> read(ParameterIndex index) {
    return index ? at(*index).read() : pare::MatrixView<const S>();
  }
  [[nodiscard]] pare::MatrixView<S> gradient(ParameterIndex index) {
    return index ? at(*index).gradient.view() : pare::MatrixView<S>();
  }
  [[nodiscard]] NormView<S> view(const NormParameters& norm, Index width) {
    return {config_->norm, width, read(norm.weight), read(norm.bias)};
  }
  [[nodiscard]] Index query_norm_width(Index cols) const {
    return config_->query_key_norm == engine::QueryKeyNorm::whole_row ? cols : config_->head_dim;
  }
  [[nodiscard]] AttentionSettings attention_of(const TrainedBlock& block, Index length,
                                               Visible visible = {}) const {
    return {.heads = config_->heads,
            .kv_heads = config_->kv_heads,
            .head_dim = config_->head_dim,
            .length = length,
            .window = block.description.window,
            .scale = static_cast<double>(config_->score_scale),
            .cap = static_cast<double>(config_->score_cap),
            .causal = !config_->encoder,
            .visible = visible};
  }
  [[nodiscard]] const RopeTable<S>& rope(std::size_t index, Index length) {
    if (ropes_.size() <= index) ropes_.resize(config_->ropes.size());
    if (ropes_[index].length() != length)
      ropes_[index] = RopeTable<S>(config_->ropes[index], length);
    return ropes_[index];
  }
  [[nodiscard]] Index rows_of(const TrainedBlock& block, engine::Role role) const {
    return block.description.find(role)->part->rows();
  }

  /// Where a norm is, its output in `memory`; else x.
  [[nodiscard]] pare::MatrixView<const S> normed(const NormParameters& norm,
                                                 pare::MatrixView<const S> x,
                                                 pare::Matrix<S>& memory,
                                                 const pare::Execution& execution) {
    if (!norm.weight) return x;
    const auto y = shaped(memory, x.rows(), x.cols());
    norm_forward(view(norm, x.cols()), x, y, execution);
    return y;
  }
  void norm_back(const NormParameters& norm, Index width, pare::MatrixView<const S> x,
                 pare::MatrixView<const S> dy, pare::MatrixView<S> dx,
                 const pare::Execution& execution) {
    norm_backward(view(norm, width), x, dy, gradient(norm.weight), gradient(norm.bias), dx,
                  execution);
  }

  /// Outputs of the layers that compute the roles of which there is a view.
  void project(const TrainedBlock& block, pare::MatrixView<const S> x, const Views& outputs,
               const pare::Execution& execution);
  /// dx += their gradients, which those of the layers' parameters take, too.
  void project_back(const TrainedBlock& block, pare::MatrixView<const S> x, const Views& gradients,
                    pare::MatrixView<S> dx, const pare::Execution& execution);

  /// y += scale * norm(half), where there is a norm.
  void add_half(const NormParameters& norm, pare::MatrixView<const S> half, pare::MatrixView<S> y,
                const pare::Execution& execution);
  /// The gradient of `half` in `memory`.
  pare::MatrixView<S> half_back(const NormParameters& norm, pare::MatrixView<const S> half,
                                pare::MatrixView<const S> dy, pare::Matrix<S>& memory,
                                const pare::Execution& execution);

  void attend(const TrainedBlock& block, pare::MatrixView<const S> input, Index length,
              Visible visible, BlockState<S>& state, const pare::Execution& execution);
  void attend_back(const TrainedBlock& block, pare::MatrixView<const S> input, Index length,
                   BlockState<S>& state, pare::MatrixView<const S> dhalf,
                   pare::MatrixView<S> dinput, const AttentionGradients<S>* extra,
                   const pare::Execution& execution);
  void feed(const TrainedBlock& block, pare::MatrixView<const S> input, BlockState<S>& state,
            const pare::Execution& execution);
  void feed_back(const TrainedBlock& block, pare::MatrixView<const S> input, BlockState<S>& state,
                 pare::MatrixView<const S> dhalf, pare::MatrixView<S> dinput,
                 const pare::Execution& execution);

  const engine::ModelConfig* config_;
  std::vector<Parameter<S>>* parameters_;
  std::vector<RopeTable<S>> ropes_;
  // Of what is on its way back, by what it is the gradient of.
  pare::Matrix<S> fused_, normed_, dnormed_, dsum_, dmiddle_, dhalf_, dmixed_, dhidden_, dgate_;
  AttentionGradients<S> d_;
  pare::Matrix<S> dplain_queries_, dplain_keys_;
};

extern template class BlockTrainer<float>;
extern template class BlockTrainer<double>;
extern template class BlockTrainer<Dual<double>>;

}  // namespace training
