#pragma once

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "pare/pruning/score.hpp"

/// Scores of the inputs of a layer (o_proj, down_proj) from its weight and their statistics: what a
/// channel of the model, or a head, is worth to what reads it.
namespace pare {

namespace detail {

/// A vector of factor(j) * sum over i of f(w_ij).
template <class Factor, class F>
[[nodiscard]] Vector<float> input_channel_scores(MatrixView<const float> w, const Factor& factor,
                                                 const F& f) {
  Vector<double> sums({w.cols()});
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j) sums[j] += f(at(w, i, j));
  Vector<float> scores({w.cols()});
  for (Index j = 0; j < w.cols(); ++j) {
    scores[j] = static_cast<float>(factor(j) * sums[j]);
    if (!is_finite(static_cast<double>(scores[j])))
      throw NumericError("the score of input " + std::to_string(j) + " is beyond float");
  }
  return scores;
}

inline void require_finite_scores(VectorView<const float> scores) {
  for (Index c = 0; c < scores.size(); ++c)
    if (!is_finite(static_cast<double>(scores[c])))
      throw NumericError("the score of channel " + std::to_string(c) + " is not finite");
}

}  // namespace detail

/// Wanda for channels (Wanda-sp; FLAP's WIFN): the mean over outputs of |w_ij| sqrt(s_j).
///
/// Shapes    as wanda_scores; the result (in)
/// Errors    as wanda_scores
/// Accuracy  float64 sums
/// Source    An et al., "Fluctuation-based Adaptive Structured Pruning for Large Language Models"
///           (FLAP), 2023
[[nodiscard]] inline Vector<float> wanda_channel_scores(
    MatrixView<const float> w, VectorView<const float> squared_input_norms) {
  require_finite(w, "weight");
  detail::require_input_norms(squared_input_norms, w.cols());
  const double outputs = static_cast<double>(w.rows() == 0 ? 1 : w.rows());
  return detail::input_channel_scores(
      w, [&](Index j) { return std::sqrt(static_cast<double>(squared_input_norms[j])) / outputs; },
      [](double v) { return std::fabs(v); });
}

/// FLAP's WIFV: v_j times the sum over outputs of w_ij^2, with v the variance of the input: how
/// much the outputs fluctuate with it. What it adds on average a bias can give back
/// (removed_input_bias).
///
/// Shapes    w (out, in); input_variance (in), as ActivationMoments has it; the result (in)
/// Errors    as wanda_scores
/// Accuracy  float64 sums. The authors' code has another variance: its first sequence counts as 0
/// Source    as wanda_channel_scores
[[nodiscard]] inline Vector<float> flap_channel_scores(MatrixView<const float> w,
                                                       VectorView<const float> input_variance) {
  require_finite(w, "weight");
  detail::require_input_norms(input_variance, w.cols());
  return detail::input_channel_scores(
      w, [&](Index j) { return static_cast<double>(input_variance[j]); },
      [](double v) { return v * v; });
}

/// FLAP's score of heads: the sum over a head's channels of the squared score.
///
/// Shapes    channel_scores (heads * channels_per_head), as the inputs of o_proj are ordered; heads
///           that share keys and values, and go together, are one with all their channels
/// Errors    ShapeError when the channels do not divide; NumericError for a score that is infinite
///           or NaN
/// Source    as wanda_channel_scores
[[nodiscard]] inline Vector<float> flap_head_scores(VectorView<const float> channel_scores,
                                                    Index channels_per_head) {
  if (channels_per_head < 1 || channel_scores.size() % channels_per_head != 0)
    throw ShapeError(std::to_string(channel_scores.size()) + " channels are no heads of " +
                     std::to_string(channels_per_head));
  detail::require_finite_scores(channel_scores);
  Vector<float> heads({channel_scores.size() / channels_per_head});
  for (Index h = 0; h < heads.size(); ++h) {
    double sum = 0.0;
    for (Index c = h * channels_per_head; c < (h + 1) * channels_per_head; ++c) {
      const double score = static_cast<double>(channel_scores[c]);
      sum += score * score;
    }
    heads[h] = static_cast<float>(sum);
    if (!is_finite(static_cast<double>(heads[h])))
      throw NumericError("the score of head " + std::to_string(h) + " is beyond float");
  }
  return heads;
}

namespace detail {

/// Scores become their distances from the mean in standard deviations, the unbiased one; like ones,
/// and one alone, 0.
inline void standardize(std::span<double> scores) {
  const auto n = static_cast<double>(scores.size());
  double mean = 0.0, squares = 0.0;
  for (const double s : scores) mean += s / n;
  for (const double s : scores) squares += (s - mean) * (s - mean);
  const double deviation = scores.size() > 1 ? std::sqrt(squares / (n - 1.0)) : 0.0;
  // The mean of like numbers may differ from them by rounding.
  bool differ = false;
  for (const double s : scores) differ = differ || s != scores[0];
  for (double& s : scores) s = differ && deviation != 0.0 ? (s - mean) / deviation : 0.0;
}

}  // namespace detail

/// A layer's scores as distances from their mean in standard deviations (the unbiased one), so that
/// layers, heads and channels can compete: select_flap does it for all of a network.
///
/// Errors    NumericError for a score that is not finite
/// Edge      like scores, and one alone, become 0
/// Source    as wanda_channel_scores
[[nodiscard]] inline Vector<float> standardized_scores(VectorView<const float> scores) {
  detail::require_finite_scores(scores);
  std::vector<double> wide;
  for (Index c = 0; c < scores.size(); ++c) wide.push_back(static_cast<double>(scores[c]));
  detail::standardize(wide);
  Vector<float> result({scores.size()});
  for (Index c = 0; c < result.size(); ++c)
    result[c] = static_cast<float>(wide[static_cast<std::size_t>(c)]);
  return result;
}

}  // namespace pare
