#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/block.hpp"
#include "engine/embedding.hpp"
#include "pare/core/function_ref.hpp"

namespace engine {

/// A head of an encoder: see HeadDescription.
struct Head {
  struct Layer {
    Linear linear;
    Norm norm;
  };
  HeadDescription description;
  std::vector<Layer> layers;
  pare::Vector<float> embedding_bias;
};

/// A decoder or encoder in memory. What quantization leaves alone is shared between variants of a
/// model.
struct Model {
  ModelConfig config;
  std::shared_ptr<const Embedding> embedding;
  std::vector<Block> blocks;
  Norm final_norm{};                     // of encoders it may be empty
  std::shared_ptr<const Linear> head{};  // null: tied to the embedding

  // Of encoders.
  std::shared_ptr<const Linear> pooler{};
  std::vector<Head> heads{};
  bool pools_by_mean = false, normalizes_sentences = false;

  /// The same with other blocks, of which there are none yet.
  [[nodiscard]] Model without_blocks() const;
};

/// Runs a model: batched prefill of whole windows, or one sequence with a key-value cache.
class Decoder {
 public:
  /// Called with what enters block 0, then with what leaves each block.
  using HiddenStates = pare::FunctionRef<void(pare::MatrixView<const float>)>;

  Decoder(const Model& model, const pare::Execution& execution)
      : model_(&model), runner_(model.config, execution) {}

  /// (tokens, hidden) behind the last norm, of windows of `length` tokens each, stacked.
  [[nodiscard]] pare::Matrix<float> normed(std::span<const std::int32_t> tokens, Index length,
                                           std::optional<HiddenStates> hidden = {}) const;
  /// Logits (tokens, vocab) of what `normed` returns.
  [[nodiscard]] pare::Matrix<float> head(pare::MatrixView<const float> normed) const;
  [[nodiscard]] pare::Matrix<float> logits(std::span<const std::int32_t> tokens,
                                           Index length) const {
    return head(normed(tokens, length));
  }
  /// Logits (tokens, vocab) of what leaves the last block.
  [[nodiscard]] pare::Matrix<float> finish(pare::MatrixView<const float> hidden) const {
    return head(norm(hidden));
  }

  /// Empties the cache and makes room for `capacity` positions.
  void start(Index capacity);
  /// Appends tokens to the sequence; logits (1, vocab) of what follows the last one.
  [[nodiscard]] pare::Matrix<float> extend(std::span<const std::int32_t> tokens);

 private:
  [[nodiscard]] pare::Matrix<float> norm(pare::MatrixView<const float> x) const;

  const Model* model_;
  BlockRunner runner_;
  std::vector<KeyValueCache> caches_;
  Index position_ = 0, capacity_ = 0;
};

}  // namespace engine
