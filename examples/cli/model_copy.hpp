#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/output_directory.hpp"
#include "engine/model_files.hpp"

namespace cli {

/// The type in which copied tensors are stored.
enum class CopiedType {
  unchanged,
  f16_for_bf16  ///< readers of AWQ files know no BF16
};

/// A tensor under a name of its own, and where some of its rows alone are wanted, which.
struct CopiedTensor {
  std::string name, source;
  std::optional<std::vector<pare::Index>> rows{};
};

/// Writes tensors of a checkpoint into one file, whatever they hold, in pieces that bound the
/// memory: byte by byte as they are, or in another type. Throws ShapeError for rows that are not
/// there, NumericError naming a tensor with a number that the type cannot hold.
void copy_tensors(const engine::ModelFiles& model, const std::vector<CopiedTensor>& tensors,
                  const std::filesystem::path& to, CopiedType type = CopiedType::unchanged);
/// The same under their own names.
void copy_tensors(const engine::ModelFiles& model, const std::vector<std::string>& names,
                  const std::filesystem::path& to, CopiedType type = CopiedType::unchanged);

/// Bytes that a model takes whose tensors have `bits(name)` per element, and those that it says
/// nothing of as many as now.
[[nodiscard]] std::uint64_t estimated_bytes(
    const engine::ModelFiles& model,
    const std::function<std::optional<double>(const std::string& tensor)>& bits);

/// Throws IoError for a file of those that copy_tokenizer copies which cannot be there: a link that
/// leads nowhere, as in a broken cache.
void require_text_files(const engine::ModelFiles& model);

/// Copies what a model's directory says about text: its tokenizer and how to generate.
void copy_tokenizer(const engine::ModelFiles& model, const OutputDirectory& to);

}  // namespace cli
