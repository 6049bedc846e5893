#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <type_traits>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

/// What a distillation loss is: a function of what a student and its teacher compute, that returns
/// the loss in double and writes its gradient with respect to the student where a view for it is
/// given. A file each; all have one shape:
///
///     double loss = kl_loss(student, teacher, {.temperature = 4}, gradient);
///     double loss = kl_loss<double>(student, teacher);          // of doubles, without a gradient
///
/// The teacher is a constant. What the losses compute, they compute in double.
namespace pare {

/// An argument of a loss: any view, tensor or container that converts. The element type is float
/// unless the call says `<double>`.
template <class T, std::size_t Rank = 2>
using LossInput = std::type_identity_t<TensorView<const T, Rank>>;

/// Where a gradient goes: a view of the shape of what it is the gradient of, or {} for none.
template <class T, std::size_t Rank = 2>
using LossGradient = std::type_identity_t<TensorView<T, Rank>>;

/// Options that all losses have, as the member `common` of theirs.
struct LossOptions {
  /// Multiplies the loss and the gradient.
  double weight = 1.0;
  /// Adds to the gradient's view instead of writing it.
  bool add_gradient = false;
};

/// Options of losses that are a sum over samples: rows of logits or of features, tokens of text.
///
///     loss = weight * sum_i w_i L_i / divisor
struct SampleOptions {
  double weight = 1.0;
  bool add_gradient = false;
  /// w_i, a number from 0 for each sample; 0 for padding. Empty: all 1.
  VectorView<const double> sample_weights{};
  /// What the sum is divided by. 0: the number of samples whose weight is not 0, so that padding
  /// counts nowhere. With gradients accumulated over several batches: the count of all of them. 1
  /// is the sum.
  double divisor = 0.0;
};

namespace detail {

/// Throws ShapeError unless two inputs of a loss have one shape.
template <std::size_t Rank>
void require_loss_shape(const Shape<Rank>& shape, const Shape<Rank>& student,
                        const std::string& what) {
  if (shape != student)
    throw ShapeError("the " + what + " has shape " + to_string(shape) + ", the student " +
                     to_string(student));
}

/// Throws ArgumentError for a weight that is no number.
inline void require_loss_weight(double weight) {
  if (!is_finite(weight))
    throw ArgumentError("the weight of a loss is " + std::to_string(weight) +
                        ": it must be a number");
}

/// Throws unless there is no gradient or one of the student's shape.
template <class T, std::size_t Rank>
void require_gradient_shape(const TensorView<T, Rank>& gradient, const Shape<Rank>& student) {
  if (gradient.data() != nullptr) require_loss_shape(gradient.shape(), student, "gradient");
}

}  // namespace detail
}  // namespace pare
