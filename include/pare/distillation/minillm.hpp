#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/distillation/response.hpp"

/// MiniLLM's policy gradient of the reverse KL of whole sequences, as functions of the
/// log-probabilities of the tokens that were sampled. All matrices are (sequences, tokens); of
/// sequence i the first `lengths[i]` tokens are read, the rest is padding. Its regulariser of
/// single steps is reverse_kl_loss, its language modelling term cross_entropy_loss.
///
///     rewards = minillm_rewards(log_teacher, log_student, lengths);
///     loss = minillm_policy_loss(log_now, log_then, minillm_advantages(rewards, lengths),
///                                minillm_importance(log_student, log_teacher, lengths), lengths,
///                                {}, of_log_now);
///
/// Source: Gu et al., "MiniLLM: Knowledge Distillation of Large Language Models", 2023, and the
/// authors' code.
namespace pare {

/// How many tokens each sequence has.
using SequenceLengths = VectorView<const Index>;

namespace detail {

/// Throws ShapeError unless there is a length that fits for each sequence, ArgumentError for one
/// that does not.
inline void require_lengths(SequenceLengths lengths, const Shape<2>& shape) {
  if (lengths.size() != shape[0])
    throw ShapeError("there are " + std::to_string(lengths.size()) + " lengths for " +
                     std::to_string(shape[0]) + " sequences");
  for (Index i = 0; i < lengths.size(); ++i)
    if (lengths[i] < 0 || lengths[i] > shape[1])
      throw ArgumentError("sequence " + std::to_string(i) + " has the length " +
                          std::to_string(lengths[i]) + " of " + std::to_string(shape[1]) +
                          " tokens");
}

/// The number at [i, t]. Throws NumericError unless it is finite.
template <class T>
[[nodiscard]] double finite_token(MatrixView<const T> values, Index i, Index t, const char* what) {
  const auto value = static_cast<double>(values(i, t));
  if (!is_finite(value))
    throw NumericError("the " + std::string(what) + " is not finite at [" + std::to_string(i) +
                       ", " + std::to_string(t) + "]");
  return value;
}

}  // namespace detail

/// clamp(log p(y_t) - log q(y_t), -clip, clip), p the teacher, q the student; 0 for padding.
///
/// Errors    ShapeError; ArgumentError for a clip that is not positive; NumericError for a
///           log-probability that is not finite
template <class T = float>
[[nodiscard]] Matrix<double> minillm_rewards(LossInput<T> log_teacher, LossInput<T> log_student,
                                             SequenceLengths lengths, double clip = 1.0) {
  detail::require_loss_shape(log_teacher.shape(), log_student.shape(),
                             "teacher's log-probabilities");
  detail::require_lengths(lengths, log_student.shape());
  if (!(clip > 0.0))
    throw ArgumentError("rewards are clipped to a positive number, not to " + std::to_string(clip));
  Matrix<double> rewards(log_student.shape());
  for (Index i = 0; i < rewards.rows(); ++i)
    for (Index t = 0; t < lengths[i]; ++t)
      rewards(i, t) =
          std::clamp(detail::finite_token(log_teacher, i, t, "teacher's log-probability") -
                         detail::finite_token(log_student, i, t, "student's log-probability"),
                     -clip, clip);
  return rewards;
}

/// q(y_t) / ((1 - share) q(y_t) + share p(y_t)): the weight of a token that was sampled from a
/// mixture with the teacher; 0 for padding.
///
/// Errors    as minillm_rewards; ArgumentError for a share outside [0, 1)
template <class T = float>
[[nodiscard]] Matrix<double> minillm_importance(LossInput<T> log_student, LossInput<T> log_teacher,
                                                SequenceLengths lengths,
                                                double teacher_share = 0.2) {
  detail::require_loss_shape(log_teacher.shape(), log_student.shape(),
                             "teacher's log-probabilities");
  detail::require_lengths(lengths, log_student.shape());
  if (!(teacher_share >= 0.0 && teacher_share < 1.0))
    throw ArgumentError("the share of the teacher in samples is " + std::to_string(teacher_share) +
                        ", outside [0, 1)");
  Matrix<double> importance(log_student.shape());
  for (Index i = 0; i < importance.rows(); ++i)
    for (Index t = 0; t < lengths[i]; ++t)
      importance(i, t) =
          1.0 /
          (1.0 - teacher_share +
           teacher_share *
               std::exp(detail::finite_token(log_teacher, i, t, "teacher's log-probability") -
                        detail::finite_token(log_student, i, t, "student's log-probability")));
  return importance;
}

struct MinillmAdvantageOptions {
  /// How much less a reward counts for each token that lies between.
  double discount = 0.95;
  /// Gives all advantages of the batch the mean 0 and the variance 1.
  bool is_whitened = true;
};

/// What follows a token, for each that can follow.
///
///     A_t = sum_{t' >= t} discount^(t' - t) r_t' / (tokens from t on), then whitened
///
/// Shapes    rewards and the result (sequences, tokens)
/// Values    0 for padding, which does not count in mean and variance (it does in the authors'
///           code)
/// Errors    as minillm_rewards; ArgumentError for a discount outside [0, 1]
[[nodiscard]] inline Matrix<double> minillm_advantages(
    MatrixView<const double> rewards, SequenceLengths lengths,
    const MinillmAdvantageOptions& options = {}) {
  detail::require_lengths(lengths, rewards.shape());
  detail::require_loss_share(options.discount, "discount of rewards");
  Matrix<double> advantages(rewards.shape());
  double count = 0.0, mean = 0.0, variance = 0.0;
  for (Index i = 0; i < rewards.rows(); ++i) {
    double following = 0.0;
    for (Index t = lengths[i]; t-- > 0;) {
      following = detail::finite_token(rewards, i, t, "reward") + options.discount * following;
      advantages(i, t) = following / static_cast<double>(lengths[i] - t);
      mean += advantages(i, t);
    }
    count += static_cast<double>(lengths[i]);
  }
  if (!options.is_whitened || count == 0.0) return advantages;
  mean /= count;
  const auto for_each_token = [&](const auto& f) {
    for (Index i = 0; i < rewards.rows(); ++i)
      for (Index t = 0; t < lengths[i]; ++t) f(advantages(i, t));
  };
  for_each_token([&](double a) { variance += (a - mean) * (a - mean) / count; });
  for_each_token([&](double& a) { a = (a - mean) / std::sqrt(variance + 1e-8); });
  return advantages;
}

struct MinillmPolicyOptions {
  /// How far the ratio of probabilities may move from 1 before it no longer pays.
  double clip = 0.2;
  LossOptions common{};
};

/// The clipped policy loss.
///
///     L = mean over tokens of max(-A_t rho_t, -A_t clamp(rho_t, 1 - clip, 1 + clip)),
///     rho_t = w_t exp(log q_now(y_t) - log q_then(y_t))
///
/// Shapes    all (sequences, tokens): log-probabilities of the student now and when it sampled,
///           advantages, importance weights w; the gradient is that of log_now, 0 for padding
/// Errors    as minillm_rewards; ArgumentError for a clip that is negative
/// Edge      no token: 0
template <class T = float>
double minillm_policy_loss(LossInput<T> log_now, LossInput<T> log_then,
                           MatrixView<const double> advantages, MatrixView<const double> importance,
                           SequenceLengths lengths, const MinillmPolicyOptions& options = {},
                           LossGradient<T> gradient = {}) {
  const Shape<2>& shape = log_now.shape();
  detail::require_loss_shape(log_then.shape(), shape, "log-probabilities of before");
  detail::require_loss_shape(advantages.shape(), shape, "matrix of advantages");
  detail::require_loss_shape(importance.shape(), shape, "matrix of importance");
  detail::require_gradient_shape(gradient, shape);
  detail::require_lengths(lengths, shape);
  detail::require_loss_weight(options.clip, "clip of a ratio");
  Index count = 0;
  for (Index i = 0; i < shape[0]; ++i) count += lengths[i];
  const double per_token = count > 0 ? options.common.weight / static_cast<double>(count) : 0.0;
  double loss = 0.0;
  for (Index i = 0; i < shape[0]; ++i)
    for (Index t = 0; t < shape[1]; ++t) {
      double slope = 0.0;
      if (t < lengths[i]) {
        const double a = detail::finite_token(advantages, i, t, "advantage");
        const double rho =
            detail::finite_token(importance, i, t, "importance") *
            std::exp(detail::finite_token(log_now, i, t, "student's log-probability") -
                     detail::finite_token(log_then, i, t, "student's log-probability of before"));
        const double free = -a * rho,
                     clipped = -a * std::clamp(rho, 1.0 - options.clip, 1.0 + options.clip);
        loss += per_token * std::max(free, clipped);
        slope = free >= clipped ? per_token * free : 0.0;
      }
      if (gradient.data() != nullptr)
        detail::put_gradient(gradient(i, t), slope, options.common.add_gradient);
    }
  return loss;
}

}  // namespace pare
