#pragma once

#include "pare/distillation/feature_values.hpp"

namespace pare {

struct CkaOptions {
  /// Diagonals of the Gram matrices left out, so that the mean over batches is that of all data:
  /// for batches that are small beside the features. At least 4 samples.
  bool unbiased = false;
  LossOptions common{};
};

namespace detail {

[[nodiscard]] inline double inner_product(const Matrix<double>& a, const Matrix<double>& b) {
  double sum = 0.0;
  for (Index i = 0; i < a.size(); ++i) sum += a.data()[i] * b.data()[i];
  return sum;
}

/// Less the first row: where the origin is does not matter to what is centred, and so equal rows
/// are exactly 0.
[[nodiscard]] inline Matrix<double> from_first_row(Matrix<double> x) {
  for (Index i = x.rows() - 1; i >= 0; --i)
    for (Index j = 0; j < x.cols(); ++j) x(i, j) -= x(0, j);
  return x;
}

/// The centred Gram matrix of a batch: with H = I - 1/n, H X Xᵀ H; or, unbiased, with a zero
/// diagonal and rows that sum to 0 (Szekely and Rizzo's U-centring). Throws NumericError where
/// nothing but rounding is left of it.
[[nodiscard]] inline Matrix<double> centred(const Matrix<double>& x, bool unbiased, const char* who,
                                            const Execution& execution) {
  Matrix<double> k = product_with_transpose(x, x, execution);
  const double before = inner_product(k, k);
  const Index n = k.rows();
  const auto count = static_cast<double>(n);
  Vector<double> rows({n}), cols({n});
  double all = 0.0;
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j) {
      if (unbiased && i == j) k(i, j) = 0.0;
      rows[i] += k(i, j);
      cols[j] += k(i, j);
      all += k(i, j);
    }
  const double of_row = unbiased ? count - 2.0 : count;
  const double of_all = unbiased ? (count - 1.0) * (count - 2.0) : count * count;
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < n; ++j)
      k(i, j) =
          unbiased && i == j ? 0.0 : k(i, j) - rows[i] / of_row - cols[j] / of_row + all / of_all;
  constexpr double rounding = 1e-14;
  if (!(inner_product(k, k) > rounding * rounding * before))
    throw NumericError("all samples of the " + std::string(who) +
                       " are equal, or equally far from each other: nothing can be aligned");
  return k;
}

}  // namespace detail

/// 1 - centred kernel alignment, of linear kernels: whether samples lie to each other as they do
/// for the teacher, whatever the rotation and the scale.
///
///     L = 1 - <K, L> / (||K|| ||L||),  K and L the centred Gram matrices
///
/// Shapes    as similarity_preserving_loss; gradients come centred over the batch
/// Values    from 0 (the unbiased one may leave [0, 1] by chance)
/// Errors    as similarity_preserving_loss; ShapeError for fewer than 2 samples, or 4 unbiased;
///           NumericError where all samples of a side are equal, or unbiased equally far from
///           each other, and for what is not finite
/// Source    Kornblith et al., "Similarity of Neural Network Representations Revisited", 2019;
///           Song et al., "Feature Selection via Dependence Maximization", 2012
template <class T = float>
double cka_loss(LossInput<T> student, LossInput<T> teacher, const CkaOptions& options = {},
                LossGradient<T> gradient = {}, const Execution& execution = {}) {
  detail::require_same_batch(student.rows(), teacher.rows());
  detail::require_gradient_shape(gradient, student.shape());
  detail::require_batch(student.rows(), options.unbiased ? 4 : 2, "alignment");
  const auto fs = detail::from_first_row(detail::feature_values(student, "student"));
  const auto ft = detail::from_first_row(detail::feature_values(teacher, "teacher"));
  const auto k = detail::centred(fs, options.unbiased, "student", execution);
  const auto l = detail::centred(ft, options.unbiased, "teacher", execution);
  const double kl = detail::inner_product(k, l), kk = detail::inner_product(k, k);
  const double ll = detail::inner_product(l, l);
  const double size = std::sqrt(kk) * std::sqrt(ll);
  // Centring is its own transpose, and a projection: what is centred needs no more.
  Matrix<double> dk(k.shape());
  for (Index i = 0; i < dk.size(); ++i)
    dk.data()[i] = -l.data()[i] / size + kl / (size * kk) * k.data()[i];
  Matrix<double> df(fs.shape());
  detail::pull_back_gram(dk, fs, df, execution);
  detail::put_gradients(df, options.common, gradient);
  return options.common.weight * (1.0 - kl / size);
}

}  // namespace pare
