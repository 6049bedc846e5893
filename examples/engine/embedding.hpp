#pragma once

#include <cstdint>
#include <span>

#include "pare/core/index.hpp"
#include "pare/core/tensor.hpp"

namespace engine {

using pare::Index;

/// What enters a model's first block: scale * a row for each token, plus a row for its position
/// where those are learned.
struct Embedding {
  pare::Matrix<float> tokens;     // (vocab, hidden)
  pare::Matrix<float> positions;  // (max_positions, hidden), or empty
  float scale = 1.0f;

  /// (tokens, hidden) for `ids`, of which t is at position `first + t % period`.
  ///
  /// Errors    ArgumentError naming a token outside the vocabulary, and for positions beyond those
  ///           that were learned
  [[nodiscard]] pare::Matrix<float> rows(std::span<const std::int32_t> ids, Index first,
                                         Index period) const;
};

}  // namespace engine
