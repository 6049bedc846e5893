#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cli/tokens.hpp"
#include "engine/config.hpp"

namespace cli {

/// Turns text into tokens of one model and back: raw bytes for a vocabulary of 256, else by the
/// model's tokenizer.json, or by SentencePiece where there is only a tokenizer.model that can be
/// read. Nothing is loaded before it is needed.
class Tokenizer {
 public:
  Tokenizer(std::filesystem::path model_directory, const engine::ModelConfig& config);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// Without tokens that begin or end a text. Throws ArgumentError for empty text, or when this
  /// model's tokenizer is not available.
  [[nodiscard]] Tokens encode(const std::string& text);
  /// The same with the tokens that stand around a text that is to be continued: those that
  /// tokenizer.json says, else the one that begins a text for the model.
  [[nodiscard]] Tokens encode_prompt(const std::string& text);
  /// Without special tokens.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids);

  /// One way of doing it.
  class Method;

 private:
  [[nodiscard]] Method& method();
  [[nodiscard]] Tokens checked(const std::string& text, bool is_prompt);

  std::filesystem::path directory_;
  engine::ModelConfig config_;
  std::unique_ptr<Method> method_;
};

}  // namespace cli
