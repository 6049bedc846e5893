#pragma once

#include <array>
#include <filesystem>
#include <string_view>
#include <vector>

#include "engine/pooling.hpp"

namespace cli {

/// What a model's directory says about its inputs and outputs: tokenizer, images, how to generate,
/// how to pool.
inline constexpr std::array<std::string_view, 16> text_file_names{"tokenizer.model",
                                                                  "tokenizer.json",
                                                                  "tokenizer_config.json",
                                                                  "special_tokens_map.json",
                                                                  "added_tokens.json",
                                                                  "vocab.json",
                                                                  "merges.txt",
                                                                  "generation_config.json",
                                                                  "chat_template.jinja",
                                                                  "chat_template.json",
                                                                  "vocab.txt",
                                                                  "tekken.json",
                                                                  "modules.json",
                                                                  "sentence_bert_config.json",
                                                                  "preprocessor_config.json",
                                                                  engine::flat_pooling_name};

/// Where a model has one of these; what pare writes is flat, others have a folder for pooling.
[[nodiscard]] std::filesystem::path text_file_source(const std::filesystem::path& directory,
                                                     std::string_view name);

/// True for the name of a file that commands read from a model's directory.
[[nodiscard]] bool is_model_file(std::string_view name);

/// What a command reads, so that nothing of it is written over or removed.
class InputPaths {
 public:
  /// Its directory, and its files wherever links lead.
  void add_model(const std::filesystem::path& directory);
  /// Nothing when the path is empty.
  void add_file(const std::filesystem::path& file);

  /// Refuses a directory to be written that is, contains or lies inside a model that is read, or
  /// contains an input file; links are resolved (ArgumentError). It need not exist.
  void require_apart(const std::filesystem::path& directory) const;

  /// Refuses a file to be written that is an input (ArgumentError).
  void require_no_input(const std::filesystem::path& file, std::string_view option) const;

 private:
  std::vector<std::filesystem::path> models_, files_;
};

}  // namespace cli
