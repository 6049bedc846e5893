#pragma once

#include <algorithm>
#include <string>

#include "pare/distillation/loss.hpp"

/// A teacher that is a moving average of its student. Source: Tarvainen and Valpola, "Mean teachers
/// are better role models", 2017.
namespace pare {

/// min(1 - 1 / (step + 1), largest): a plain mean at first, `step` counts from 0. Throws
/// ArgumentError for a negative step, or a largest momentum outside [0, 1].
[[nodiscard]] inline double ema_momentum(Index step, double largest = 0.999) {
  if (step < 0) throw ArgumentError("step " + std::to_string(step) + " of a moving average");
  if (!(largest >= 0.0 && largest <= 1.0))
    throw ArgumentError("the momentum of a moving average is " + std::to_string(largest) +
                        ", outside [0, 1]");
  return std::min(1.0 - 1.0 / static_cast<double>(step + 1), largest);
}

/// teacher <- momentum teacher + (1 - momentum) student, of one tensor of parameters.
///
/// Errors    ShapeError for another shape; ArgumentError for a momentum outside [0, 1]
/// Accuracy  double, rounded to T
template <class T, std::size_t Rank>
void ema_update(TensorView<T, Rank> teacher, LossInput<T, Rank> student, double momentum) {
  detail::require_loss_shape(teacher.shape(), student.shape(), "teacher");
  if (!(momentum >= 0.0 && momentum <= 1.0))
    throw ArgumentError("the momentum of a moving average is " + std::to_string(momentum) +
                        ", outside [0, 1]");
  if constexpr (Rank == 1) {
    for (Index i = 0; i < teacher.size(); ++i)
      teacher[i] = static_cast<T>(momentum * static_cast<double>(teacher[i]) +
                                  (1.0 - momentum) * static_cast<double>(student[i]));
  } else {
    for (Index i = 0; i < teacher.extent(0); ++i)
      ema_update<T, Rank - 1>(teacher.row(i), student.row(i), momentum);
  }
}

}  // namespace pare
