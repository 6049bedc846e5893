#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/step_option.hpp"
#include "pare/core/index.hpp"
#include "training/weight_masks.hpp"

namespace cli {

using pare::Index;

/// One way to train a model. Its options are described in train_recipe.cpp.
struct TrainRecipe {
  Index steps = 200;
  /// Terms of the loss, see training/objective.hpp. Empty: "kd" with a teacher, else "ce".
  std::string loss{};
  std::string optimizer = "adamw";
  double rate = 1e-3;
  Index warm_up = 20;
  double last_rate = 0.05;  ///< a share
  Index batch = 8;          ///< sequences
  Index accumulate = 1;     ///< batches a step
  std::optional<double> weight_decay{};
  double clip = 1.0;
  Index seed = 1;
  /// "everything", "layers" or "norms"; unset: layers where they are quantized, else everything.
  std::string train{};
  /// "FORMAT:GROUP": the layers are rounded to codes on their way. Empty: as the model is stored.
  std::string quantize{};
  double scale_rate = 0.2;  ///< of their scales, on the rate
  bool keep_zeros = false;
  /// A directory whose zeros are taken, or "cubic:SHARE" or "movement:SHARE". Empty: none.
  std::string masks{};
  std::string schedule = "cosine";
  Index top_k = 0;  ///< classes of a teacher that a cache keeps; 0: as many as it keeps unasked
  double average = 0.0;  ///< the momentum of a moving average of what is learned
  bool recompute = false;
  /// What learns in the model's place, see student.hpp; the model teaches it. Empty: the model.
  std::string student{};

  struct Quantized {
    std::string format;
    Index group_size = -1;
  };
  [[nodiscard]] std::optional<Quantized> quantized() const;
  /// Nothing where `masks` is a directory.
  [[nodiscard]] std::optional<training::GradualPruning> gradual_pruning() const;

  /// Refuses what cannot be, in one line that says what would work.
  void validate() const;
};

template <>
std::span<const StepOption<TrainRecipe>> options_of<TrainRecipe>();

}  // namespace cli
