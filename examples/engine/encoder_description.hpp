#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/block_description.hpp"

/// What stands before and behind the blocks of an encoder, as data.
namespace engine {

/// Images are cut into patches, row by row, and each is a token.
struct ImageDescription {
  Index size = 0, patch = 0, channels = 0;  ///< pixels a side; of a square
  std::string projection;                   ///< (hidden, channels, patch, patch)
  /// Learned tokens that precede the patches.
  std::vector<std::string> first_tokens;

  [[nodiscard]] Index patches() const noexcept { return (size / patch) * (size / patch); }
  [[nodiscard]] Index tokens() const noexcept {
    return patches() + static_cast<Index>(first_tokens.size());
  }
  [[nodiscard]] Index pixels() const noexcept { return channels * size * size; }
};

struct HeadLayer {
  std::string linear;
  std::optional<Activation> activation{};
  std::string norm{};  ///< behind the activation
};

/// How logits come of the last block. Names are those of the file, without the model's root.
struct HeadDescription {
  std::string output = "logits";
  /// The token whose state is read, or every one; the pooler's output in its place where `pooled`.
  Index token = 0;
  bool every_token = false, pooled = false;
  std::vector<HeadLayer> layers;
  /// The token embedding is the last layer, with this tensor as its bias.
  std::string embedding_bias{};
};

struct EncoderDescription {
  std::string types{};  ///< token types are added to the embedding; empty where there are none
  Index type_count = 0;
  std::string embedding_norm{};
  /// Positions count the tokens that are not this one, from the next number on; others are at it.
  std::optional<Index> pad_token{};
  std::optional<ImageDescription> image{};
  /// tanh of a layer over the first token.
  std::string pooler{};
  /// Those that a checkpoint may have; logits are the mean of those it has.
  std::vector<HeadDescription> heads{};

  [[nodiscard]] Index first_position() const noexcept { return pad_token ? *pad_token + 1 : 0; }
};

}  // namespace engine
