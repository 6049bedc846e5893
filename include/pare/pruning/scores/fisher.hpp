#pragma once

#include <string>

#include "pare/pruning/score.hpp"

namespace pare {

/// The diagonal of the empirical Fisher matrix: the mean over samples of the squared gradient.
///
/// Each gradient is of ONE sample's loss: the square of a batch's mean is another thing.
///
/// Accuracy  float64 sums
/// Order     halves merge into the whole up to rounding
class FisherDiagonal {
 public:
  /// Of a weight of this shape. Throws ShapeError for a negative extent.
  explicit FisherDiagonal(const Shape<2>& shape) : squares_(shape) {}

  /// Adds the gradient of one sample. Throws ShapeError for another shape and NumericError naming
  /// an element that is not finite; nothing has changed then.
  void add(MatrixView<const float> gradient, const Execution& execution = {}) {
    detail::require_shape_of_weight(gradient.shape(), squares_.shape(), "gradient");
    require_finite(gradient, "gradient");
    execution.parallel_for(squares_.rows(), [&](Index i) {
      for (Index j = 0; j < squares_.cols(); ++j) {
        const double g = detail::at(gradient, i, j);
        squares_(i, j) += g * g;
      }
    });
    ++count_;
  }

  /// Adds what another one has seen. Throws ShapeError for another shape.
  void merge(const FisherDiagonal& other) {
    detail::require_shape_of_weight(other.shape(), shape(), "Fisher diagonal");
    for (Index k = 0; k < squares_.size(); ++k) squares_.data()[k] += other.squares_.data()[k];
    count_ += other.count_;
  }

  [[nodiscard]] const Shape<2>& shape() const noexcept { return squares_.shape(); }
  /// Samples seen.
  [[nodiscard]] Index count() const noexcept { return count_; }

  /// The mean of the squares. Throws ArgumentError when no sample was seen, NumericError for a
  /// mean beyond float.
  [[nodiscard]] Matrix<float> mean() const {
    if (count_ == 0) throw ArgumentError("the Fisher diagonal has seen no gradient");
    return detail::scores_of(
        shape(), [&](Index i, Index j) { return squares_(i, j) / static_cast<double>(count_); });
  }

 private:
  Matrix<double> squares_;
  Index count_ = 0;
};

namespace detail {

/// A mean of squares.
inline void require_mean_square(MatrixView<const float> fisher, const Shape<2>& weight) {
  require_shape_of_weight(fisher.shape(), weight, "Fisher diagonal");
  require_finite(fisher, "Fisher diagonal");
  for (Index i = 0; i < fisher.rows(); ++i)
    for (Index j = 0; j < fisher.cols(); ++j)
      if (fisher(i, j) < 0.0f)
        throw NumericError("the Fisher diagonal is negative at " + to_string(Shape<2>{i, j}));
}

}  // namespace detail

/// F w^2 / 2: Optimal Brain Damage with the Fisher diagonal for the Hessian's.
///
/// Shapes    w and fisher_diagonal (out, in); see FisherDiagonal
/// Errors    ShapeError; NumericError naming an element that is not finite or a mean square that is
///           negative, and for a score beyond float
/// Source    Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018
[[nodiscard]] inline Matrix<float> fisher_scores(MatrixView<const float> w,
                                                 MatrixView<const float> fisher_diagonal,
                                                 const Execution& execution = {}) {
  detail::require_mean_square(fisher_diagonal, w.shape());
  require_finite(w, "weight");
  const auto score = [&](Index i, Index j) {
    const double v = detail::at(w, i, j);
    return 0.5 * detail::at(fisher_diagonal, i, j) * v * v;
  };
  return detail::scores_of(w.shape(), score, execution);
}

struct Fisher {
  static constexpr std::string_view name = "fisher";
  using Inputs = WeightsAndCurvature;
  [[nodiscard]] Matrix<float> operator()(const WeightsAndCurvature& inputs,
                                         const Execution& execution = {}) const {
    return fisher_scores(inputs.w, inputs.curvature, execution);
  }
};

}  // namespace pare
