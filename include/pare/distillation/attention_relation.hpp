#pragma once

#include <cmath>
#include <limits>

#include "pare/distillation/feature_values.hpp"

namespace pare {

struct AttentionRelationOptions {
  /// Widths are cut into as many heads for student and teacher, whose widths may differ. MiniLM:
  /// the attention heads of both; MiniLMv2: relation heads, 48 or 64.
  Index heads = 1;
  /// Tokens see those before them only.
  bool causal = false;
  /// (batch, tokens), 0 for padding: neither asked nor seen, nor read. Empty: all tokens are there.
  MatrixView<const double> mask{};
  LossOptions common{};
};

namespace detail {

/// What of the states (batch, tokens, width) is a head of a sample.
template <class T>
[[nodiscard]] MatrixView<T> relation_head(TensorView<T, 3> x, Index sample, Index head,
                                          Index heads) {
  const Index width = x.extent(2) / heads;
  return x.row(sample).slice(1, head * width, width);
}

/// softmax(scale a_h b_hᵀ) of one sample and head over the keys that are there; rows without a
/// query are left at 0.
class Relation {
 public:
  Relation(const Tensor<double, 3>& a, const Tensor<double, 3>& b, Index sample, Index head,
           const AttentionRelationOptions& options)
      : a_(relation_head(a.view(), sample, head, options.heads)),
        b_(relation_head(b.view(), sample, head, options.heads)),
        scale_(1.0 / std::sqrt(static_cast<double>(a_.cols()))),
        probabilities({a_.rows(), b_.rows()}) {
    gemm(scale_, a_, b_.transposed(), probabilities);
    for (Index i = 0; i < probabilities.rows(); ++i) {
      const auto is_seen = [&](Index j) {
        return is_there(options, sample, i) && is_there(options, sample, j) &&
               (!options.causal || j <= i);
      };
      double largest = -std::numeric_limits<double>::infinity(), sum = 0.0;
      for (Index j = 0; j < probabilities.cols(); ++j)
        if (is_seen(j)) largest = std::max(largest, probabilities(i, j));
      for (Index j = 0; j < probabilities.cols(); ++j)
        sum += probabilities(i, j) = is_seen(j) ? std::exp(probabilities(i, j) - largest) : 0.0;
      for (Index j = 0; j < probabilities.cols() && sum > 0.0; ++j) probabilities(i, j) /= sum;
    }
  }
  /// Adds to the gradients of a and b from that of the scores.
  void pull_back(const Matrix<double>& g, Index sample, Index head,
                 const AttentionRelationOptions& options, Tensor<double, 3>& da,
                 Tensor<double, 3>& db) const {
    gemm(scale_, g, b_, relation_head(da.view(), sample, head, options.heads));
    gemm(scale_, g.view().transposed(), a_, relation_head(db.view(), sample, head, options.heads));
  }
  [[nodiscard]] static bool is_there(const AttentionRelationOptions& options, Index sample,
                                     Index token) {
    return options.mask.empty() || options.mask(sample, token) != 0.0;
  }

 private:
  MatrixView<const double> a_, b_;
  double scale_;

 public:
  Matrix<double> probabilities;
};

/// KL(teacher || student) of relations; gradients without the weight.
inline double relation_loss(const Tensor<double, 3>& as, const Tensor<double, 3>& bs,
                            const Tensor<double, 3>& at, const Tensor<double, 3>& bt,
                            const AttentionRelationOptions& options, Tensor<double, 3>& das,
                            Tensor<double, 3>& dbs, const Execution& execution) {
  const Index batch = as.extent(0), tokens = as.extent(1);
  if (at.extent(0) != batch || at.extent(1) != tokens)
    throw ShapeError("the teacher's states have the shape " + to_string(at.shape()) +
                     ", the student's " + to_string(as.shape()) + ": other samples or tokens");
  if (options.heads < 1 || as.extent(2) % options.heads != 0 || at.extent(2) % options.heads != 0)
    throw ArgumentError(std::to_string(options.heads) + " heads do not divide the widths " +
                        std::to_string(as.extent(2)) + " and " + std::to_string(at.extent(2)));
  double rows = 0.0;
  for (Index b = 0; b < batch; ++b)
    for (Index t = 0; t < tokens; ++t) rows += Relation::is_there(options, b, t) ? 1.0 : 0.0;
  if (rows == 0.0) throw ArgumentError("the mask leaves no token");
  rows *= static_cast<double>(options.heads);
  Vector<double> losses({batch * options.heads});
  execution.parallel_for(losses.size(), [&](Index part) {
    const Index b = part / options.heads, h = part % options.heads;
    const Relation s(as, bs, b, h, options), t(at, bt, b, h, options);
    Matrix<double> g(s.probabilities.shape());
    for (Index i = 0; i < g.size(); ++i) {
      const double q = s.probabilities.data()[i], p = t.probabilities.data()[i];
      // A probability that is too small for a number has the gradient of one.
      if (p > 0.0)
        losses[part] += p * std::log(p / std::max(q, std::numeric_limits<double>::min())) / rows;
      g.data()[i] = (q - p) / rows;
    }
    s.pull_back(g, b, h, options, das, dbs);
  });
  double loss = 0.0;
  for (const double of_head : losses) loss += of_head;
  return loss;
}

}  // namespace detail

/// The attention of student and teacher, KL(softmax(Q_t K_tᵀ / sqrt d) || the student's), mean over
/// heads and tokens.
///
/// Shapes    queries and keys (batch, tokens, width), the teacher's of another width perhaps;
/// gradients of
///           the student's
/// Errors    ShapeError; ArgumentError for heads that do not divide the widths or a mask that
/// leaves
///           nothing; NumericError for what is not finite
/// Source    Wang et al., "MiniLM", 2020
template <class T = float>
double attention_relation_loss(LossInput<T, 3> student_queries, LossInput<T, 3> student_keys,
                               LossInput<T, 3> teacher_queries, LossInput<T, 3> teacher_keys,
                               const AttentionRelationOptions& options = {},
                               LossGradient<T, 3> queries_gradient = {},
                               LossGradient<T, 3> keys_gradient = {},
                               const Execution& execution = {}) {
  detail::require_loss_shape(student_keys.shape(), student_queries.shape(), "student's keys");
  detail::require_loss_shape(teacher_keys.shape(), teacher_queries.shape(), "teacher's keys");
  detail::require_gradient_shape(queries_gradient, student_queries.shape());
  detail::require_gradient_shape(keys_gradient, student_queries.shape());
  const auto qs = detail::state_values(student_queries, options.mask, "student");
  const auto ks = detail::state_values(student_keys, options.mask, "student");
  Tensor<double, 3> dq(qs.shape()), dk(qs.shape());
  const double loss = detail::relation_loss(
      qs, ks, detail::state_values(teacher_queries, options.mask, "teacher"),
      detail::state_values(teacher_keys, options.mask, "teacher"), options, dq, dk, execution);
  detail::put_gradients(dq, options.common, queries_gradient);
  detail::put_gradients(dk, options.common, keys_gradient);
  return options.common.weight * loss;
}

/// The same of states with themselves: values in MiniLM; queries, keys and values, a call each, in
/// MiniLMv2.
///
/// Source    Wang et al., "MiniLM", 2020; "MiniLMv2", 2020
template <class T = float>
double self_relation_loss(LossInput<T, 3> student, LossInput<T, 3> teacher,
                          const AttentionRelationOptions& options = {},
                          LossGradient<T, 3> gradient = {}, const Execution& execution = {}) {
  detail::require_gradient_shape(gradient, student.shape());
  const auto s = detail::state_values(student, options.mask, "student");
  const auto t = detail::state_values(teacher, options.mask, "teacher");
  Tensor<double, 3> d(s.shape());
  const double loss = detail::relation_loss(s, s, t, t, options, d, d, execution);
  detail::put_gradients(d, options.common, gradient);
  return options.common.weight * loss;
}

}  // namespace pare
