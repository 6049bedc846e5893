#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/block.hpp"
#include "engine/rms_norm.hpp"

namespace engine {

/// A decoder in memory. What quantization leaves alone is shared between variants of a model.
struct Model {
  ModelConfig config;
  std::shared_ptr<const pare::Matrix<float>> embedding;  // (vocab, hidden)
  std::vector<Block> blocks;
  pare::Vector<float> final_norm;
  std::shared_ptr<const Linear> head;  // null: tied to the embedding
};

/// Rows of the embedding for `tokens`. Throws ArgumentError naming a token out of range.
[[nodiscard]] inline pare::Matrix<float> embed(pare::MatrixView<const float> embedding,
                                               std::span<const std::int32_t> tokens) {
  pare::Matrix<float> x({static_cast<Index>(tokens.size()), embedding.cols()});
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    if (tokens[t] < 0 || tokens[t] >= embedding.rows())
      throw pare::ArgumentError("token " + std::to_string(t) + " is " + std::to_string(tokens[t]) +
                                ", outside the vocabulary of " + std::to_string(embedding.rows()));
    pare::copy(embedding.row(tokens[t]), x.row(static_cast<Index>(t)));
  }
  return x;
}

/// Runs a model: batched prefill of whole windows, or one sequence with a key-value cache.
class Decoder {
 public:
  Decoder(const Model& model, const pare::Execution& execution)
      : model_(&model), runner_(model.config, execution) {}

  /// Logits (tokens, vocab) of windows of `length` tokens each, stacked.
  [[nodiscard]] pare::Matrix<float> logits(std::span<const std::int32_t> tokens,
                                           Index length) const {
    auto x = embed(*model_->embedding, tokens);
    for (const Block& block : model_->blocks) runner_.prefill(block, x, length);
    return head(x);
  }

  /// Empties the cache and makes room for `capacity` positions.
  void start(Index capacity) {
    position_ = 0;
    capacity_ = capacity;
    caches_.assign(model_->blocks.size(), KeyValueCache(capacity, model_->config.kv_size()));
  }

  /// Appends tokens to the sequence; logits (1, vocab) of what follows the last one.
  [[nodiscard]] pare::Matrix<float> extend(std::span<const std::int32_t> tokens) {
    const Index count = static_cast<Index>(tokens.size());
    if (position_ + count > capacity_)
      throw pare::ArgumentError("the sequence exceeds its " + std::to_string(capacity_) +
                                " positions");
    auto x = embed(*model_->embedding, tokens);
    for (std::size_t b = 0; b < model_->blocks.size(); ++b)
      runner_.extend(model_->blocks[b], x, position_, caches_[b]);
    position_ += count;
    return head(x.view().slice(0, count - 1, 1));
  }

 private:
  [[nodiscard]] pare::Matrix<float> head(pare::MatrixView<const float> x) const {
    const pare::Execution& execution = runner_.execution();
    const ScratchMatrix normed(execution, x.rows(), x.cols());
    rms_norm(x, model_->final_norm, model_->config.rms_norm_eps, normed, execution);
    if (model_->head) return model_->head->forward(normed, execution);
    pare::Matrix<float> logits({x.rows(), model_->embedding->rows()});
    multiply_dense(normed, *model_->embedding, logits, execution);
    return logits;
  }

  const Model* model_;
  BlockRunner runner_;
  std::vector<KeyValueCache> caches_;
  Index position_ = 0, capacity_ = 0;
};

}  // namespace engine
