#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/output_directory.hpp"
#include "engine/checkpoint.hpp"

namespace cli {

/// Writes tensors of a checkpoint into one file, byte by byte as they are, whatever they hold, in
/// pieces that bound the memory.
void copy_tensors(const engine::Checkpoint& checkpoint, const std::vector<std::string>& names,
                  const std::filesystem::path& to);

/// Copies what a model's directory says about text: its tokenizer and how to generate.
void copy_tokenizer(const engine::Checkpoint& checkpoint, const OutputDirectory& to);

}  // namespace cli
