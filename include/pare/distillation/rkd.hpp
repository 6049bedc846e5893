#pragma once

#include <algorithm>
#include <vector>

#include "pare/distillation/feature_values.hpp"

namespace pare {

namespace detail {

/// Huber's loss with delta 1, and its slope.
[[nodiscard]] inline double huber(double x) noexcept {
  const double size = std::fabs(x);
  return size < 1.0 ? 0.5 * x * x : size - 0.5;
}
[[nodiscard]] inline double huber_slope(double x) noexcept { return std::clamp(x, -1.0, 1.0); }

/// Distances of all pairs over their mean, those of equal rows counting as 1e-6 and of a row to
/// itself as 0.
struct RelativeDistances {
  Matrix<double> distances, relative;
  double mean = 0.0, positive;

  RelativeDistances(const Matrix<double>& f, const Execution& execution)
      : distances({f.rows(), f.rows()}),
        relative(distances.shape()),
        positive(static_cast<double>(f.rows() * (f.rows() - 1))) {
    // From differences: a Gram matrix would lose what rows far from the origin differ by.
    execution.parallel_for(f.rows(), [&](Index i) {
      for (Index j = 0; j < f.rows(); ++j) {
        if (i == j) continue;
        double square = 0.0;
        for (Index k = 0; k < f.cols(); ++k) square += (f(i, k) - f(j, k)) * (f(i, k) - f(j, k));
        distances(i, j) = std::sqrt(std::max(square, smallest_square));
      }
    });
    double sum = 0.0;
    for (const double distance : distances) sum += distance;
    mean = sum / positive;
    for (Index i = 0; i < relative.size(); ++i) relative.data()[i] = distances.data()[i] / mean;
  }
  static constexpr double smallest_square = 1e-12;
};

/// Directions from each row i to each row j, one row of length 1 for each pair; zeros for equal
/// rows.
[[nodiscard]] inline Matrix<double> directions_from(const Matrix<double>& f, Index i,
                                                    Vector<double>& lengths) {
  Matrix<double> d({f.rows(), f.cols()});
  for (Index j = 0; j < f.rows(); ++j) {
    double square = 0.0;
    for (Index k = 0; k < f.cols(); ++k) {
      d(j, k) = f(j, k) - f(i, k);
      square += d(j, k) * d(j, k);
    }
    lengths[j] = std::sqrt(square);
    for (Index k = 0; k < f.cols(); ++k) d(j, k) = lengths[j] > 0.0 ? d(j, k) / lengths[j] : 0.0;
  }
  return d;
}

/// The loss of the angles at sample i, and where it moves each sample of the student.
inline double angles_at(const Matrix<double>& fs, const Matrix<double>& ft, Index i, double triples,
                        Matrix<double>& move) {
  const Index batch = fs.rows();
  Vector<double> lengths({batch}), unused({batch});
  const Matrix<double> es = directions_from(fs, i, lengths), et = directions_from(ft, i, unused);
  const Matrix<double> as = product_with_transpose(es, es), at = product_with_transpose(et, et);
  Matrix<double> slopes(as.shape()), de(es.shape());
  double loss = 0.0;
  for (Index p = 0; p < as.size(); ++p) {
    const double difference = as.data()[p] - at.data()[p];
    loss += huber(difference) / triples;
    slopes.data()[p] = huber_slope(difference) / triples;
  }
  pull_back_gram(slopes, es, de);
  move.fill(0.0);
  for (Index j = 0; j < batch; ++j) {
    if (lengths[j] == 0.0) continue;
    double along = 0.0;
    for (Index k = 0; k < fs.cols(); ++k) along += de(j, k) * es(j, k);
    for (Index k = 0; k < fs.cols(); ++k) {
      const double d = (de(j, k) - along * es(j, k)) / lengths[j];
      move(j, k) += d;
      move(i, k) -= d;
    }
  }
  return loss;
}

}  // namespace detail

/// Relations between pairs of samples: their distances, each over the mean of all.
///
///     L = mean over all pairs of huber(d_s / mean d_s - d_t / mean d_t)
///
/// Shapes    student (batch, features), teacher (batch, any features)
/// Values    0 for features that a rotation and a factor make equal
/// Errors    as similarity_preserving_loss
/// Edge      equal rows have the distance 1e-6 and no gradient, as in the authors' code
/// Source    Park et al., "Relational Knowledge Distillation", 2019
template <class T = float>
double rkd_distance_loss(LossInput<T> student, LossInput<T> teacher,
                         const LossOptions& options = {}, LossGradient<T> gradient = {},
                         const Execution& execution = {}) {
  detail::require_same_batch(student.rows(), teacher.rows());
  detail::require_gradient_shape(gradient, student.shape());
  detail::require_batch(student.rows(), 2, "pairs");
  const auto fs = detail::feature_values(student, "student");
  const detail::RelativeDistances s(fs, execution);
  const detail::RelativeDistances t(detail::feature_values(teacher, "teacher"), execution);
  const Index batch = fs.rows();
  const auto pairs = static_cast<double>(batch * batch);
  double loss = 0.0, along = 0.0;
  Matrix<double> slopes({batch, batch});
  for (Index i = 0; i < slopes.size(); ++i) {
    const double difference = s.relative.data()[i] - t.relative.data()[i];
    loss += detail::huber(difference) / pairs;
    slopes.data()[i] = detail::huber_slope(difference) / pairs;
    along += slopes.data()[i] * s.relative.data()[i];
  }
  Matrix<double> df(fs.shape());
  execution.parallel_for(batch, [&](Index i) {
    for (Index j = 0; j < batch; ++j) {
      const double distance = s.distances(i, j);
      if (i == j || distance * distance <= detail::RelativeDistances::smallest_square) continue;
      // Twice, since the distance of j to i is this one.
      const double slope = 2.0 * (slopes(i, j) - along / s.positive) / s.mean / distance;
      for (Index k = 0; k < fs.cols(); ++k) df(i, k) += slope * (fs(i, k) - fs(j, k));
    }
  });
  detail::put_gradients(df, options, gradient);
  return options.weight * loss;
}

/// Relations between triples of samples: the cosines of the angles at each of them.
///
///     L = mean over i, j, k of huber(<e_ij, e_ik> of the student - the teacher's),  e_ij to j from
///     i
///
/// Shapes, values and source as rkd_distance_loss; time batch^3 features
/// Errors    the same; a batch has at least 3 samples
/// Edge      equal rows of the student have no direction and no gradient; the authors' code divides
/// by
///           1e-12 there, and its gradients reach 1e10
template <class T = float>
double rkd_angle_loss(LossInput<T> student, LossInput<T> teacher, const LossOptions& options = {},
                      LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_same_batch(student.rows(), teacher.rows());
  detail::require_gradient_shape(gradient, student.shape());
  detail::require_batch(student.rows(), 3, "angles");
  const auto fs = detail::feature_values(student, "student");
  const auto ft = detail::feature_values(teacher, "teacher");
  const Index batch = fs.rows();
  const auto triples = static_cast<double>(batch) * static_cast<double>(batch * batch);
  double loss = 0.0;
  Matrix<double> df(fs.shape());
  // Each vertex moves all samples: some vertices at a time, added up in their order.
  const Index together = std::min<Index>(batch, 16);
  std::vector<Matrix<double>> moves(static_cast<std::size_t>(together), Matrix<double>(fs.shape()));
  Vector<double> losses({together});
  for (Index first = 0; first < batch; first += together) {
    const Index count = std::min(together, batch - first);
    execution.parallel_for(count, [&](Index v) {
      losses[v] = detail::angles_at(fs, ft, first + v, triples, moves[static_cast<std::size_t>(v)]);
    });
    execution.parallel_for(batch, [&](Index j) {
      for (Index v = 0; v < count; ++v)
        for (Index k = 0; k < fs.cols(); ++k) df(j, k) += moves[static_cast<std::size_t>(v)](j, k);
    });
    for (Index v = 0; v < count; ++v) loss += losses[v];
  }
  detail::put_gradients(df, options, gradient);
  return options.weight * loss;
}

}  // namespace pare
