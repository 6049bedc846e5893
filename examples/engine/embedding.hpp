#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "engine/encoder_description.hpp"
#include "engine/linear.hpp"
#include "engine/model_inputs.hpp"
#include "engine/norm.hpp"

namespace engine {

/// What enters a model's first block: of texts
///
///     norm(scale * tokens[id] + positions[position] + types[type])
///
/// of which models have some parts only; of images learned tokens and what a layer makes of each
/// patch, plus a row for each position.
struct Embedding {
  pare::Matrix<float> tokens;     // (vocab, hidden)
  pare::Matrix<float> positions;  // (positions, hidden)
  pare::Matrix<float> types;      // (types, hidden)
  float scale = 1.0f;
  NormDescription norm_description;
  Norm norm;
  std::optional<Index> pad_token;  // see EncoderDescription
  std::optional<ImageDescription> image;
  Linear projection;  // (hidden, channels * patch * patch)

  /// (tokens, hidden) for `ids`, of which t is at position `first + t % period`.
  ///
  /// Errors    ArgumentError naming a token outside the vocabulary, and for positions beyond those
  ///           that were learned
  [[nodiscard]] pare::Matrix<float> rows(std::span<const std::int32_t> ids, Index first,
                                         Index period) const;
  /// (tokens, hidden) for all sequences of `inputs`. Throws ArgumentError as `rows` does.
  [[nodiscard]] pare::Matrix<float> rows(const ModelInputs& inputs,
                                         const pare::Execution& execution) const;

 private:
  [[nodiscard]] pare::Matrix<float> patches(const pare::Matrix<float>& pixels,
                                            const pare::Execution& execution) const;
};

}  // namespace engine
