#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "pare/formats/mask.hpp"
#include "pare/pruning/schedule.hpp"
#include "pare/pruning/scores/movement.hpp"
#include "training/network.hpp"
#include "training/training_state.hpp"

namespace training {

/// How weights of layers are removed while others learn: more and more of each layer, along a cubic
/// way that `schedule` describes.
struct GradualPruning {
  enum class Score : std::uint8_t {
    /// The smallest weights go. What is removed stays so.
    magnitude,
    /// Those that have moved the least away from zero go, and may come back: they keep the value
    /// that they had, but no operation reads it.
    movement,
  };
  Score score = Score::magnitude;
  pare::GradualOptions schedule{};
};

/// Weights that are zero for what reads them. Nothing is masked unless a mask is given.
///
/// Source    Zhu and Gupta, "To prune, or not to prune", 2017; Sanh, Wolf and Rush, "Movement
///           Pruning", 2020
class WeightMasks {
 public:
  /// What is zero now in the layers stays zero.
  void keep_zeros(const Network<float>& model);
  /// What the mask does not keep is zero from the next step on. Throws pare::ShapeError for another
  /// shape.
  void keep(const Network<float>& model, std::size_t parameter, pare::Mask mask);
  /// Removes weights of the layers gradually; zeros that they have go first, and a
  /// layer that has more of them than a step asks for keeps them. Throws pare::ArgumentError for a
  /// schedule that is none.
  void remove_gradually(const Network<float>& model, const GradualPruning& pruning);

  [[nodiscard]] bool empty() const noexcept { return layers_.empty(); }
  /// True where operations read a masked copy: such layers cannot be rounded too.
  [[nodiscard]] bool makes_copies() const noexcept {
    return pruning_ && pruning_->score == GradualPruning::Score::movement;
  }

  /// Before the way forward of a step, and once after the last one: the masks of this step.
  void prepare(Network<float>& model, std::int64_t step, const pare::Execution& execution);
  /// After the way back: scores are gathered, and removed weights have no gradient.
  void mask_gradients(Network<float>& model, double rate, const pare::Execution& execution);
  /// After the optimizer, whose memory moves weights, too.
  void mask_values(Network<float>& model, const pare::Execution& execution);

  /// The share of masked layers that is removed now.
  [[nodiscard]] double sparsity() const;
  /// What a training goes on from.
  void add_parts(const Network<float>& model, std::vector<StatePart>& parts);

 private:
  struct Layer {
    std::size_t parameter;
    pare::Mask mask;
    double zeros = 0.0;     ///< a share, at first
    double reached = -1.0;  ///< the share that the mask was made for
    std::optional<pare::MovementScores> movement{};
  };
  std::vector<Layer> layers_;
  std::optional<GradualPruning> pruning_;
};

}  // namespace training
