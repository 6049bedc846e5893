#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cli/pipeline/step.hpp"
#include "engine/block.hpp"
#include "training/language_model.hpp"

namespace cli {

/// Throws pare::ArgumentError naming the culprit, and what it was for, where training does not
/// describe a model's blocks: encoders and mixtures of experts.
void require_gradients(const engine::ModelConfig& config, const std::string& what_for);

/// How far a block is from what the float block makes of float inputs: the mean squared difference
/// of all that leaves it, and its gradients with respect to the weights of layers.
class BlockOutputError {
 public:
  /// Windows of a question that is no batch.
  static constexpr Index batch_windows = 8;

  /// `block` is in float32; `windows` must outlive this. Batches are drawn anew, by the same seed
  /// the same ones, once all windows have been in one.
  BlockOutputError(const engine::ModelConfig& config, const engine::Block& block,
                   const BlockWindows& windows, std::uint64_t seed,
                   const pare::Execution& execution);

  /// Of batch `iteration`, with `weights` for `layers` (by their number among the block's). Adds
  /// gradients where they are not empty. Batches are asked for in order, each any number of times.
  double of_batch(Index iteration, std::span<const std::size_t> layers,
                  std::span<const pare::MatrixView<const float>> weights,
                  std::span<const pare::MatrixView<float>> gradients);
  /// Of all windows.
  double of_all(std::span<const std::size_t> layers,
                std::span<const pare::MatrixView<const float>> weights);

 private:
  [[nodiscard]] const std::vector<Index>& batch(Index iteration);
  void use(std::span<const std::size_t> layers,
           std::span<const pare::MatrixView<const float>> weights);
  /// The sum of squared differences of some windows; their gradient, of the mean, in dy_.
  double forward(std::span<const Index> chosen);

  const BlockWindows* windows_;
  pare::Execution execution_;
  training::LanguageModel<float> model_;
  training::BlockTrainer<float> trainer_;
  training::BlockState<float> state_;
  std::uint64_t seed_;
  std::vector<Index> batch_, left_;
  Index drawn_ = -1;
  pare::Matrix<float> x_, wanted_, y_, dy_, dx_;
};

}  // namespace cli
