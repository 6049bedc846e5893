#pragma once

#include <algorithm>
#include <cmath>

#include "pare/core/tensor.hpp"
#include "pare/distillation/teachers_kl.hpp"

namespace pare {

/// The convex combination of vectors that is shortest: the direction in which all of several
/// gradients descend.
///
///     argmin ||sum_m w_m g_m||^2   where 0 <= w_m <= largest, sum_m w_m = 1
///
/// Shapes    vectors (count, length); the result (count)
/// Errors    ArgumentError without vectors, or for a largest weight below 1 / count or above 1;
///           NumericError for a value that is not finite
/// Accuracy  weights to 1e-7 or better, where vectors are not collinear
/// Source    Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization", 2018; solved
///           by sequential minimal optimization (Platt, 1998)
[[nodiscard]] inline Vector<double> min_norm_weights(MatrixView<const double> vectors,
                                                     double largest = 1.0) {
  const Index count = vectors.rows();
  if (count == 0) throw ArgumentError("there are no vectors to combine");
  const double equal = 1.0 / static_cast<double>(count);
  if (!(largest >= equal * (1.0 - 1e-12) && largest <= 1.0))
    throw ArgumentError("a largest weight of " + std::to_string(largest) + " for " +
                        std::to_string(count) + " vectors: it must be from 1 / " +
                        std::to_string(count) + " to 1");
  Matrix<double> gram({count, count});
  double size = 0.0;
  for (Index a = 0; a < count; ++a) {
    for (Index b = 0; b <= a; ++b) {
      double sum = 0.0;
      for (Index d = 0; d < vectors.cols(); ++d) sum += vectors(a, d) * vectors(b, d);
      if (!is_finite(sum)) throw NumericError("vector " + std::to_string(a) + " is not finite");
      gram(a, b) = gram(b, a) = sum;
    }
    size = std::max(size, gram(a, a));
  }
  Vector<double> weights({count});
  weights.fill(equal);
  constexpr int most_steps = 100000;
  for (int step = 0; step < most_steps; ++step) {
    // Half the gradient: the pair that gains most from moving weight from `down` to `up`.
    Index up = -1, down = -1;
    double of_up = 0.0, of_down = 0.0;
    for (Index a = 0; a < count; ++a) {
      double slope = 0.0;
      for (Index b = 0; b < count; ++b) slope += gram(a, b) * weights[b];
      if (weights[a] < largest && (up < 0 || slope < of_up)) up = a, of_up = slope;
      if (weights[a] > 0.0 && (down < 0 || slope > of_down)) down = a, of_down = slope;
    }
    if (up < 0 || up == down || !(of_down - of_up > 1e-15 * size)) break;
    const double curvature = gram(up, up) + gram(down, down) - 2.0 * gram(up, down);
    const double room = std::min(largest - weights[up], weights[down]);
    const double moved = curvature > 0.0 ? std::min(room, (of_down - of_up) / curvature) : room;
    weights[up] = moved == largest - weights[up] ? largest : weights[up] + moved;
    weights[down] = moved == weights[down] ? 0.0 : weights[down] - moved;
  }
  return weights;
}

struct AekdOptions {
  double temperature = 1.0;
  /// Of one teacher: 1 / (nu teachers) in the authors' words.
  double largest_weight = 1.0;
  /// Gradients count by their directions: teachers that are far away do not count for more.
  bool is_normalized = true;
};

/// Weights of teachers by which the student's logits descend for all of them.
///
///     g_m = mean_i (q_i - p_mi),   w as min_norm_weights(g); with is_normalized of g_m / ||g_m||,
///     then w_m / ||g_m||, which are given the sum 1
///
/// Shapes    student, each teacher (samples, classes); the result (teachers)
/// Errors    as teachers_kl_loss and min_norm_weights
/// Edge      where the student already is a teacher, that one gets all of the weight
/// Source    Du et al., "Agree to Disagree: Adaptive Ensemble Knowledge Distillation in Gradient
///           Space" (AEKD), 2020; CA-MKD's code, whose mean over the batch comes first too. For
///           features call min_norm_weights with gradients of them
template <class T = float>
[[nodiscard]] Vector<double> aekd_weights(LossInput<T> student, ManyLogits<T> teachers,
                                          const AekdOptions& options = {}) {
  detail::require_teachers<T>(teachers, {});
  detail::require_temperature(options.temperature);
  const Index classes = detail::vocabulary_of(student.shape(), teachers[0].shape(), 0);
  const auto count = static_cast<Index>(teachers.size());
  Matrix<double> gradients({count, classes});
  for (Index i = 0; i < student.rows(); ++i) {
    const detail::Softmax q = detail::softmax_of(student.row(i), options.temperature, "student", i);
    for (Index m = 0; m < count; ++m) {
      const detail::Softmax p = detail::softmax_of(teachers[static_cast<std::size_t>(m)].row(i),
                                                   options.temperature, "teacher", i);
      for (Index j = 0; j < classes; ++j)
        gradients(m, j) += (q[j] - p[j]) / static_cast<double>(student.rows());
    }
  }
  Vector<double> norms({count});
  for (Index m = 0; m < count; ++m) {
    double squares = 0.0;
    for (Index j = 0; j < classes; ++j) squares += gradients(m, j) * gradients(m, j);
    norms[m] = std::sqrt(squares);
  }
  const bool is_normalized =
      options.is_normalized && *std::min_element(norms.begin(), norms.end()) > 0.0;
  for (Index m = 0; is_normalized && m < count; ++m)
    for (Index j = 0; j < classes; ++j) gradients(m, j) /= norms[m];
  Vector<double> weights = min_norm_weights(gradients, options.largest_weight);
  if (!is_normalized) return weights;
  double sum = 0.0;
  for (Index m = 0; m < count; ++m) sum += weights[m] /= norms[m];
  for (double& w : weights.span()) w /= sum;
  return weights;
}

}  // namespace pare
