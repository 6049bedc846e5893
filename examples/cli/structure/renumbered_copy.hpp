#pragma once

#include <vector>

#include "cli/model_copy.hpp"
#include "engine/checkpoint.hpp"

namespace cli {

using pare::Index;

/// Tensors of a model without some of its blocks, by the shard that they are to be in: one for each
/// block that is left, and the others last.
[[nodiscard]] std::vector<std::vector<CopiedTensor>> tensors_without_blocks(
    const engine::Checkpoint& checkpoint, const std::vector<Index>& kept);

/// Tensors of a model where only these experts of each block are left, ascending; routers lose the
/// rows of the others. `now` is the model as it will be. Shards as above.
[[nodiscard]] std::vector<std::vector<CopiedTensor>> tensors_without_experts(
    const engine::Checkpoint& checkpoint, const engine::ModelConfig& now,
    const std::vector<std::vector<Index>>& kept);

}  // namespace cli
