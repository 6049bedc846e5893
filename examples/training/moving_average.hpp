#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pare/core/tensor.hpp"
#include "pare/distillation/ema_teacher.hpp"
#include "training/optimizer.hpp"
#include "training/training_state.hpp"

namespace training {

/// A moving average of what is learned: average <- m average + (1 - m) value after each step, with
/// m = min(1 - 1 / (step + 1), momentum), so that first steps count alike.
class MovingAverage {
 public:
  /// Throws pare::ArgumentError unless 0 <= momentum <= 1.
  MovingAverage(std::span<const Trainable> parameters, double momentum) : momentum_(momentum) {
    (void)pare::ema_momentum(0, momentum);
    for (const Trainable& parameter : parameters) averages_.emplace_back(parameter.value.size());
  }

  /// After step `step`, from 0.
  void update(std::span<const Trainable> parameters, std::int64_t step,
              const pare::Execution& execution) {
    const double momentum = pare::ema_momentum(step, momentum_);
    execution.parallel_for(std::ssize(averages_), [&](Index p) {
      const auto i = static_cast<std::size_t>(p);
      pare::ema_update<float, 1>(std::span<float>(averages_[i]), parameters[i].value, momentum);
    });
  }
  /// Puts the averages in the place of the values.
  void take(std::span<const Trainable> parameters) const {
    for (std::size_t p = 0; p < averages_.size(); ++p)
      std::copy(averages_[p].begin(), averages_[p].end(), parameters[p].value.begin());
  }
  /// What a training goes on from.
  void add_parts(std::span<const Trainable> parameters, std::vector<StatePart>& parts) {
    for (std::size_t p = 0; p < averages_.size(); ++p)
      parts.push_back({"average." + parameters[p].name,
                       std::as_writable_bytes(std::span<float>(averages_[p]))});
  }

 private:
  double momentum_;
  std::vector<pare::AlignedVector<float>> averages_;
};

}  // namespace training
