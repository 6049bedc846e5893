#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary.hpp"

namespace tokenizer {

/// Turns pieces into tokens, with the memory that one text needs.
class Encoder {
 public:
  virtual ~Encoder() = default;
  /// Appends the tokens of a piece, which is not empty.
  virtual void encode(std::string_view piece, std::vector<Id>& ids) = 0;
};

/// A vocabulary and how pieces are made of it.
class Model {
 public:
  virtual ~Model() = default;
  [[nodiscard]] virtual const Vocabulary& vocabulary() const = 0;
  /// For one text; the model must outlive it.
  [[nodiscard]] virtual std::unique_ptr<Encoder> encoder() const = 0;
};

/// Byte pair encoding (Sennrich, Haddow and Birch 2016): the pair with the lowest rank is merged
/// first, the leftmost among equals. Takes O(n log n) for a piece of n characters.
[[nodiscard]] std::unique_ptr<Model> read_byte_pair_encoding(const nlohmann::json& description);

/// Unigram language model (Kudo 2018): the pieces with the largest sum of scores, of two ways that
/// are as good the one with the longer last piece. Takes O(n times the longest token).
[[nodiscard]] std::unique_ptr<Model> read_unigram(const nlohmann::json& description);

/// WordPiece (Schuster and Nakajima 2012) as BERT uses it: the longest token first.
[[nodiscard]] std::unique_ptr<Model> read_word_piece(const nlohmann::json& description);

/// Reads a "model". Throws FormatError naming a type that is not known.
[[nodiscard]] std::unique_ptr<Model> read_model(const nlohmann::json& description);

}  // namespace tokenizer
