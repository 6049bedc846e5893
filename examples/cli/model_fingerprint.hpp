#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/checkpoint.hpp"

namespace cli {

/// Says of a tensor, by name, whether NaN and infinity in it are an error.
using MustBeFinite = std::function<bool(const std::string& tensor)>;

/// Everything that commands read of a model, as fingerprints: "weights" of all tensors, and each of
/// the other files by its name. The names of shards, other files and the place do not count.
///
/// Reads all tensors once, from the first to the last; takes no more memory than a piece of them.
/// Throws NumericError naming a tensor that holds NaN or infinity and must not.
[[nodiscard]] nlohmann::json model_fingerprint(const engine::ModelFiles& model,
                                               const MustBeFinite& must_be_finite);

/// Tensors outside blocks that a decoder's arithmetic reads: the embeddings, the last norm and the
/// output layer. Others are buffers, copied whatever they hold.
[[nodiscard]] bool is_outer_tensor(const engine::ModelConfig& config, const std::string& name);

}  // namespace cli
