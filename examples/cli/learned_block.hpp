#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cli/pipeline/step.hpp"
#include "cli/recipe.hpp"
#include "pare/formats/any_quantized_matrix.hpp"

namespace cli {

/// A layer whose rounding is learned.
struct RoundedLayer {
  std::size_t index = 0;  ///< among the block's
  std::string name;
  const pare::AnyQuantizedMatrix* begin = nullptr;
};

struct LearnedBlock {
  std::vector<pare::AnyQuantizedMatrix> weights;  ///< of the layers
  double begin_error = 0.0, error = 0.0;          ///< of the block's output, over all windows
  bool is_better = false;                         ///< else the weights are those it began with
};

/// Learns the rounding of layers of a block together by AutoRound, so that the block's output
/// differs least from the float one's, 8 windows in an iteration. Of the codes that it began with
/// and the best of a batch those remain that are better on all windows.
///
/// Order     independent of the number of threads
[[nodiscard]] LearnedBlock learn_block(const Recipe& recipe, const engine::ModelConfig& config,
                                       const engine::Block& block,
                                       std::span<const RoundedLayer> layers,
                                       const BlockWindows& windows, std::uint64_t seed,
                                       const Listener& listener, const pare::Execution& execution);

}  // namespace cli
