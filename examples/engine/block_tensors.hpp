#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/block.hpp"

namespace engine {

/// Where a block's tensors come from.
struct BlockSource {
  std::function<bool(const std::string& tensor)> contains;
  std::function<pare::Vector<float>(const std::string& tensor)> vector;
  std::function<pare::Matrix<float>(const std::string& tensor)> matrix;
  /// The layers of these names, biases included.
  std::function<std::vector<Linear>(const std::vector<std::string>& names)> linears;
};

/// When the experts of a block are read.
enum class ReadExperts { at_once, when_used };

/// Reads block `index` of a model from `source`; `config`, and what `source` reads, must outlive a
/// block whose experts are read when they are used.
[[nodiscard]] Block read_block(const ModelConfig& config, Index index, const BlockSource& source,
                               ReadExperts experts = ReadExperts::at_once);

/// An expert of block `index`: a block of its layers alone.
[[nodiscard]] Block read_expert(const ModelConfig& config, Index index, Index expert,
                                const BlockSource& source);

/// Calls `use` with the name and values of every norm tensor of a block.
void for_each_norm_tensor(
    const ModelConfig& config, Index index, const Block& block,
    pare::FunctionRef<void(const std::string& name, const pare::Vector<float>& values)> use);

/// Names of the layers of a block that choose experts; they stay float.
[[nodiscard]] std::vector<std::string> router_names(const ModelConfig& config, Index index);

/// Names of the norms' weights of a block, and the size of each.
struct NormShape {
  std::string name;  ///< without ".weight"
  Index size;
};
[[nodiscard]] std::vector<NormShape> norm_shapes(const ModelConfig& config, Index index);

/// True for weights and biases of the norms and layers of the model's blocks.
[[nodiscard]] bool is_block_tensor(const ModelConfig& config, const std::string& name);

}  // namespace engine
