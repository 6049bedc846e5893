#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "pare/distillation/feature_values.hpp"

namespace pare {

/// How attention scores of several heads are matched.
enum class HeadMatch : std::uint8_t {
  each,  ///< head by head: as many in student and teacher
  sum,   ///< sums over heads (squared differences), or means (cross entropy): any number of heads
};

struct AttentionMatchOptions {
  HeadMatch heads = HeadMatch::each;
  /// (batch, tokens), 0 for padding. Empty: scores at most `masked_score`, -infinity too, are what
  /// a model masked, and count as 0.
  MatrixView<const double> mask{};
  /// TinyBERT: -100. TextBrewer takes -0.001, and loses real scores by it; -infinity for none.
  double masked_score = -100.0;
  LossOptions common{};
};

namespace detail {

/// Scores in double. Throws NumericError for what is neither a number nor -infinity.
template <class T>
[[nodiscard]] Tensor<double, 4> score_values(TensorView<const T, 4> scores, const char* who) {
  if (scores.empty())
    throw ShapeError("the " + std::string(who) + " has no scores: shape " +
                     to_string(scores.shape()));
  Tensor<double, 4> values(scores);
  for (const double v : values)
    if (is_nan(v) || (!is_finite(v) && v > 0.0))
      throw NumericError("the " + std::string(who) + " holds a score that is not finite");
  return values;
}

/// Scores in double, the heads put together where that is asked for.
struct MatchedScores {
  Tensor<double, 4> values;
  std::vector<bool> zeroed;  ///< what was masked by its size
  Index heads = 1;           ///< of the input
  double share = 1.0;        ///< of an input in what it is put together to
};

template <class T>
[[nodiscard]] MatchedScores matched_scores(TensorView<const T, 4> scores,
                                           const AttentionMatchOptions& options, bool zeroes,
                                           bool mean, const char* who) {
  MatchedScores matched{score_values(scores, who), {}, scores.extent(1)};
  if (options.heads == HeadMatch::sum) {
    const Tensor<double, 4> all = std::move(matched.values);
    if (mean) matched.share = 1.0 / static_cast<double>(matched.heads);
    matched.values = Tensor<double, 4>({all.extent(0), 1, all.extent(2), all.extent(3)});
    const Index matrix = all.extent(2) * all.extent(3);
    for (Index i = 0; i < all.size(); ++i)
      matched.values.data()[i / (matrix * matched.heads) * matrix + i % matrix] +=
          matched.share * all.data()[i];
  }
  matched.zeroed.resize(static_cast<std::size_t>(matched.values.size()));
  for (Index i = 0; i < matched.values.size() && zeroes && options.mask.empty(); ++i)
    if (matched.values.data()[i] <= options.masked_score) {
      matched.zeroed[static_cast<std::size_t>(i)] = true;
      matched.values.data()[i] = 0.0;
    }
  return matched;
}

/// log softmax of a row; false where all scores are -infinity.
[[nodiscard]] inline bool log_softmax(const double* row, std::vector<double>& logs) {
  const auto count = static_cast<Index>(logs.size());
  const double largest = *std::max_element(row, row + count);
  if (!is_finite(largest)) return false;
  double sum = 0.0;
  for (Index j = 0; j < count; ++j) sum += is_finite(row[j]) ? std::exp(row[j] - largest) : 0.0;
  for (Index j = 0; j < count; ++j)
    logs[static_cast<std::size_t>(j)] = row[j] - largest - std::log(sum);
  return true;
}

inline void require_match(const Shape<4>& student, const Shape<4>& teacher,
                          const AttentionMatchOptions& options) {
  const bool fits = student[0] == teacher[0] && student[2] == teacher[2] &&
                    student[3] == teacher[3] &&
                    (student[1] == teacher[1] || options.heads == HeadMatch::sum);
  if (!fits)
    throw ShapeError("scores of the student have the shape " + to_string(student) +
                     ", of the teacher " + to_string(teacher));
  require_token_mask(options.mask, student[0], student[2]);
  if (is_nan(options.masked_score)) throw ArgumentError("the masked score is NaN");
}

/// The gradient of the scores from that of what they were made into.
template <class T>
void put_score_gradients(const Tensor<double, 4>& dmatched, const MatchedScores& matched,
                         const LossOptions& options, TensorView<T, 4> gradient) {
  if (gradient.data() == nullptr) return;
  Tensor<double, 4> d(gradient.shape());
  const Index matrix = d.extent(2) * d.extent(3);
  const bool each = dmatched.shape() == d.shape();
  for (Index i = 0; i < d.size(); ++i) {
    const Index from = each ? i : i / (matrix * matched.heads) * matrix + i % matrix;
    if (!matched.zeroed[static_cast<std::size_t>(from)])
      d.data()[i] = matched.share * dmatched.data()[from];
  }
  put_gradients(d, options, gradient);
}

}  // namespace detail

/// The mean squared difference of attention scores, before their softmax.
///
/// Shapes    student, teacher, gradient (batch, heads, tokens, tokens)
/// Values    the mean over all scores, or over pairs of tokens that are there, of every head
/// Errors    ShapeError; ArgumentError for a mask that leaves nothing; NumericError
/// Source    Jiao et al., "TinyBERT", 2020; TextBrewer's attention_mse and attention_mse_sum
template <class T = float>
double attention_mse_loss(LossInput<T, 4> student, LossInput<T, 4> teacher,
                          const AttentionMatchOptions& options = {},
                          LossGradient<T, 4> gradient = {}, const Execution& execution = {}) {
  detail::require_match(student.shape(), teacher.shape(), options);
  detail::require_gradient_shape(gradient, student.shape());
  const auto s = detail::matched_scores(student, options, true, false, "student");
  const auto t = detail::matched_scores(teacher, options, true, false, "teacher");
  Tensor<double, 4> d(s.values.shape());
  const auto weight = [&](Index b, Index i, Index j) {
    return options.mask.empty() ? 1.0 : options.mask(b, i) * options.mask(b, j);
  };
  Vector<double> counts({d.extent(0)}), losses({d.extent(0)});
  execution.parallel_for(d.extent(0), [&](Index b) {
    for (Index h = 0; h < d.extent(1); ++h)
      for (Index i = 0; i < d.extent(2); ++i)
        for (Index j = 0; j < d.extent(3); ++j) {
          if (weight(b, i, j) == 0.0) continue;
          const double difference = s.values(b, h, i, j) - t.values(b, h, i, j);
          if (!is_finite(difference))
            throw NumericError("the score of token " + std::to_string(j) + " for token " +
                               std::to_string(i) + " of sample " + std::to_string(b) +
                               " is -infinity: a mask leaves it out");
          counts[b] += 1.0;
          losses[b] += difference * difference;
          d(b, h, i, j) = 2.0 * difference;
        }
  });
  double count = 0.0, loss = 0.0;
  for (Index b = 0; b < d.extent(0); ++b) count += counts[b], loss += losses[b];
  if (count == 0.0) throw ArgumentError("the mask leaves no token");
  for (double& v : d) v /= count;
  detail::put_score_gradients(d, s, options.common, gradient);
  return options.common.weight * loss / count;
}

/// The cross entropy of the student's attention with the teacher's.
///
///     L = -mean over heads and tokens of sum_j p_j log q_j,   p, q softmaxes of scores
///
/// Shapes, errors as attention_mse_loss
/// Values    where there is no mask, keys that the teacher masked by size are left out of the sum
/// Source    TextBrewer's attention_ce and attention_ce_mean
template <class T = float>
double attention_cross_entropy_loss(LossInput<T, 4> student, LossInput<T, 4> teacher,
                                    const AttentionMatchOptions& options = {},
                                    LossGradient<T, 4> gradient = {},
                                    const Execution& execution = {}) {
  detail::require_match(student.shape(), teacher.shape(), options);
  detail::require_gradient_shape(gradient, student.shape());
  const auto s = detail::matched_scores(student, options, false, true, "student");
  const auto t = detail::matched_scores(teacher, options, false, true, "teacher");
  const Index tokens = s.values.extent(3);
  Tensor<double, 4> d(s.values.shape());
  Vector<double> counts({d.extent(0)}), losses({d.extent(0)});
  execution.parallel_for(d.extent(0), [&](Index b) {
    std::vector<double> p(static_cast<std::size_t>(tokens)), log_q(p.size());
    for (Index h = 0; h < d.extent(1); ++h)
      for (Index i = 0; i < d.extent(2); ++i) {
        if (!options.mask.empty() && options.mask(b, i) == 0.0) continue;
        counts[b] += 1.0;
        const bool has_keys = detail::log_softmax(&t.values(b, h, i, 0), p) &&
                              detail::log_softmax(&s.values(b, h, i, 0), log_q);
        double mass = 0.0;
        for (Index j = 0; j < tokens; ++j) {
          const auto at = static_cast<std::size_t>(j);
          const bool is_seen = options.mask.empty() ? t.values(b, h, i, j) > options.masked_score
                                                    : options.mask(b, j) != 0.0;
          p[at] = is_seen && has_keys && is_finite(p[at]) ? std::exp(p[at]) : 0.0;
          if (!has_keys || (p[at] > 0.0 && !is_finite(log_q[at])))
            throw NumericError("token " + std::to_string(i) + " of sample " + std::to_string(b) +
                               " has scores of -infinity for what the teacher attends to");
          mass += p[at];
          if (p[at] > 0.0) losses[b] -= p[at] * log_q[at];
        }
        for (Index j = 0; j < tokens; ++j) {
          const auto at = static_cast<std::size_t>(j);
          d(b, h, i, j) = (is_finite(log_q[at]) ? mass * std::exp(log_q[at]) : 0.0) - p[at];
        }
      }
  });
  double count = 0.0, loss = 0.0;
  for (Index b = 0; b < d.extent(0); ++b) count += counts[b], loss += losses[b];
  if (count == 0.0) throw ArgumentError("the mask leaves no token");
  for (double& v : d) v /= count;
  detail::put_score_gradients(d, s, options.common, gradient);
  return options.common.weight * loss / count;
}

}  // namespace pare
