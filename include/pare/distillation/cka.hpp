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

/// The centred Gram matrix of a batch: with H = I - 1/n, H X Xᵀ H; or, unbiased, with a zero
/// diagonal and rows that sum to 0 (Szekely and Rizzo's U-centring).
[[nodiscard]] inline Matrix<double> centred(Matrix<double> k, bool unbiased) {
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
  return k;
}

[[nodiscard]] inline double inner_product(const Matrix<double>& a, const Matrix<double>& b) {
  double sum = 0.0;
  for (Index i = 0; i < a.size(); ++i) sum += a.data()[i] * b.data()[i];
  return sum;
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
///           NumericError where all samples of a side are equal
/// Source    Kornblith et al., "Similarity of Neural Network Representations Revisited", 2019;
///           Song et al., "Feature Selection via Dependence Maximization", 2012
template <class T = float>
double cka_loss(LossInput<T> student, LossInput<T> teacher, const CkaOptions& options = {},
                LossGradient<T> gradient = {}) {
  detail::require_same_batch(student.rows(), teacher.rows());
  detail::require_gradient_shape(gradient, student.shape());
  if (student.rows() < (options.unbiased ? 4 : 2))
    throw ShapeError("CKA needs at least " + std::string(options.unbiased ? "4" : "2") +
                     " samples, not " + std::to_string(student.rows()));
  const auto fs = detail::feature_values(student, "student");
  const auto ft = detail::feature_values(teacher, "teacher");
  const auto k = detail::centred(detail::product_with_transpose(fs, fs), options.unbiased);
  const auto l = detail::centred(detail::product_with_transpose(ft, ft), options.unbiased);
  const double kl = detail::inner_product(k, l), kk = detail::inner_product(k, k);
  const double ll = detail::inner_product(l, l);
  if (!(kk > 0.0 && ll > 0.0))
    throw NumericError("all samples of the " + std::string(kk > 0.0 ? "teacher" : "student") +
                       " are equal: nothing can be aligned");
  const double size = std::sqrt(kk) * std::sqrt(ll);
  // Centring is its own transpose, and a projection: what is centred needs no more.
  Matrix<double> dk(k.shape());
  for (Index i = 0; i < dk.size(); ++i)
    dk.data()[i] = -l.data()[i] / size + kl / (size * kk) * k.data()[i];
  Matrix<double> df(fs.shape());
  detail::pull_back_gram(dk, fs, df);
  detail::put_gradients(df, options.common, gradient);
  return options.common.weight * (1.0 - kl / size);
}

}  // namespace pare
