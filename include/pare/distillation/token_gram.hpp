#pragma once

#include "pare/distillation/feature_values.hpp"

namespace pare {

struct TokenGramOptions {
  /// (batch, tokens), 0 for padding, which is not read. Empty: all tokens are there.
  MatrixView<const double> mask{};
  LossOptions common{};
};

namespace detail {

/// States with those of padding at 0, and how many tokens each sample has.
struct MaskedStates {
  Tensor<double, 3> values;
  Vector<double> lengths;

  template <class T>
  MaskedStates(TensorView<const T, 3> states, MatrixView<const double> mask, const char* who)
      : values(state_values(states, mask, who)), lengths({values.extent(0)}) {
    for (Index b = 0; b < values.extent(0); ++b) {
      for (Index t = 0; t < values.extent(1); ++t) lengths[b] += mask.empty() ? 1.0 : mask(b, t);
      if (lengths[b] == 0.0)
        throw ArgumentError("the mask leaves no token of sample " + std::to_string(b));
    }
  }
  /// The gradient of the states: none for padding.
  [[nodiscard]] Tensor<double, 3> kept(Tensor<double, 3> d, MatrixView<const double> mask) const {
    for (Index b = 0; b < d.extent(0) && !mask.empty(); ++b)
      for (Index t = 0; t < d.extent(1); ++t)
        for (Index j = 0; j < d.extent(2); ++j) d(b, t, j) *= mask(b, t);
    return d;
  }
};

}  // namespace detail

/// How features of one layer go with those of another: squared differences of X1ᵀ X2 / length,
/// TextBrewer's fsp (gram).
///
/// Shapes    all states (batch, tokens, features), of as many features for student and teacher
/// Values    the mean over samples and pairs of features
/// Errors    ShapeError; ArgumentError for a mask that leaves nothing of a sample; NumericError
/// Source    TextBrewer; Yim et al., "A Gift from Knowledge Distillation", 2017
template <class T = float>
double feature_gram_loss(LossInput<T, 3> student_first, LossInput<T, 3> student_second,
                         LossInput<T, 3> teacher_first, LossInput<T, 3> teacher_second,
                         const TokenGramOptions& options = {},
                         LossGradient<T, 3> first_gradient = {},
                         LossGradient<T, 3> second_gradient = {}, const Execution& execution = {}) {
  detail::require_loss_shape(teacher_first.shape(), student_first.shape(), "teacher's first layer");
  detail::require_loss_shape(teacher_second.shape(), student_second.shape(),
                             "teacher's second layer");
  detail::require_gradient_shape(first_gradient, student_first.shape());
  detail::require_gradient_shape(second_gradient, student_second.shape());
  const detail::MaskedStates s1(student_first, options.mask, "student"),
      s2(student_second, options.mask, "student"), t1(teacher_first, options.mask, "teacher"),
      t2(teacher_second, options.mask, "teacher");
  if (s1.values.extent(0) != s2.values.extent(0) || s1.values.extent(1) != s2.values.extent(1))
    throw ShapeError("both layers of the student see the same tokens");
  Tensor<double, 3> d1(s1.values.shape()), d2(s2.values.shape());
  const auto count = static_cast<double>(d1.extent(0) * d1.extent(2) * d2.extent(2));
  Vector<double> losses({d1.extent(0)});
  execution.parallel_for(d1.extent(0), [&](Index b) {
    const double share = 1.0 / s1.lengths[b];
    Matrix<double> e({d1.extent(2), d2.extent(2)});
    gemm(share, s1.values.view().row(b).transposed(), s2.values.view().row(b), e);
    gemm(-share, t1.values.view().row(b).transposed(), t2.values.view().row(b), e);
    for (const double v : e) losses[b] += v * v / count;
    gemm(2.0 * share / count, s2.values.view().row(b), e.view().transposed(), d1.view().row(b));
    gemm(2.0 * share / count, s1.values.view().row(b), e, d2.view().row(b));
  });
  double loss = 0.0;
  for (const double of_sample : losses) loss += of_sample;
  detail::put_gradients(s1.kept(d1, options.mask), options.common, first_gradient);
  detail::put_gradients(s2.kept(d2, options.mask), options.common, second_gradient);
  return options.common.weight * loss;
}

/// How tokens lie to each other: squared differences of X Xᵀ / width, TextBrewer's mmd (nst).
/// Widths may differ.
///
/// Shapes    student, gradient (batch, tokens, width), teacher (batch, tokens, any width)
/// Values    the mean over pairs of tokens that are there
/// Errors, source as feature_gram_loss
template <class T = float>
double token_gram_loss(LossInput<T, 3> student, LossInput<T, 3> teacher,
                       const TokenGramOptions& options = {}, LossGradient<T, 3> gradient = {},
                       const Execution& execution = {}) {
  detail::require_gradient_shape(gradient, student.shape());
  const detail::MaskedStates s(student, options.mask, "student"),
      t(teacher, options.mask, "teacher");
  if (s.values.extent(0) != t.values.extent(0) || s.values.extent(1) != t.values.extent(1))
    throw ShapeError("states of " + to_string(s.values.shape()) + " and " +
                     to_string(t.values.shape()) + " are not of the same tokens");
  double pairs = 0.0;
  for (const double length : s.lengths) pairs += length * length;
  const double ws = 1.0 / static_cast<double>(s.values.extent(2));
  const double wt = 1.0 / static_cast<double>(t.values.extent(2));
  Tensor<double, 3> d(s.values.shape());
  Vector<double> losses({d.extent(0)});
  execution.parallel_for(d.extent(0), [&](Index b) {
    const auto x = s.values.view().row(b), y = t.values.view().row(b);
    Matrix<double> e({d.extent(1), d.extent(1)});
    gemm(ws, x, x.transposed(), e);
    gemm(-wt, y, y.transposed(), e);
    for (const double v : e) losses[b] += v * v / pairs;
    // The difference is symmetric.
    gemm(4.0 * ws / pairs, e, x, d.view().row(b));
  });
  double loss = 0.0;
  for (const double of_sample : losses) loss += of_sample;
  detail::put_gradients(s.kept(d, options.mask), options.common, gradient);
  return options.common.weight * loss;
}

}  // namespace pare
