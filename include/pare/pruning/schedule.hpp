#pragma once

#include <algorithm>
#include <cmath>
#include <string>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/index.hpp"

/// How much is removed at which step: pure functions, clamped to their ends, monotone. Sparsity is
/// the share that is removed.
namespace pare {

namespace detail {

inline void require_share(double share, const char* what) {
  if (!(share >= 0.0 && share <= 1.0))
    throw ArgumentError("the " + std::string(what) + " is " + std::to_string(share) +
                        ", outside [0, 1]");
}

/// round / rounds in [0, 1].
[[nodiscard]] inline double share_of_rounds(Index round, Index rounds) {
  if (rounds < 1) throw ArgumentError("there are " + std::to_string(rounds) + " rounds");
  return static_cast<double>(std::clamp<Index>(round, 0, rounds)) / static_cast<double>(rounds);
}

}  // namespace detail

/// From `initial` to `final` over the `span` steps that follow `begin`.
struct GradualOptions {
  double initial = 0.0;
  double final = 0.5;
  Index begin = 0;
  Index span = 1;
  /// Steps between which nothing changes.
  Index every = 1;
};

/// 0 before step `at`, then `final`. Throws ArgumentError for a sparsity outside [0, 1].
[[nodiscard]] inline double one_shot_sparsity(Index step, double final, Index at = 0) {
  detail::require_share(final, "final sparsity");
  return step < at ? 0.0 : final;
}

/// final + (initial - final) (1 - u)^degree, with u the share of the span that has passed.
///
/// Values    monotone in the step; `initial` up to `begin`, `final` from `begin + span` on. A span
///           of 0 is one shot at `begin`
/// Errors    ArgumentError for sparsities outside [0, 1], a negative span, `every` below 1, and a
///           degree that is not positive and finite
/// Source    degree 3: Zhu and Gupta, "To prune, or not to prune", 2017
[[nodiscard]] inline double polynomial_sparsity(Index step, const GradualOptions& options,
                                                double degree) {
  detail::require_share(options.initial, "initial sparsity");
  detail::require_share(options.final, "final sparsity");
  if (options.span < 0 || options.every < 1)
    throw ArgumentError("a schedule of " + std::to_string(options.span) + " steps with one in " +
                        std::to_string(options.every));
  if (!is_finite(degree) || degree <= 0.0)
    throw ArgumentError("the degree of a schedule is " + std::to_string(degree));
  if (step < options.begin) return options.initial;
  const Index passed = step - options.begin;
  if (passed >= options.span) return options.final;
  const Index last = passed - passed % options.every;
  if (last == 0) return options.initial;
  const double u = static_cast<double>(last) / static_cast<double>(options.span);
  const auto [low, high] = std::minmax(options.initial, options.final);
  return std::clamp(options.final + (options.initial - options.final) * std::pow(1.0 - u, degree),
                    low, high);
}

/// The schedule of Zhu and Gupta: fast first, while much is redundant.
[[nodiscard]] inline double cubic_sparsity(Index step, const GradualOptions& options) {
  return polynomial_sparsity(step, options, 3.0);
}
[[nodiscard]] inline double linear_sparsity(Index step, const GradualOptions& options) {
  return polynomial_sparsity(step, options, 1.0);
}

/// After `round` of `rounds` rounds in which what is kept shrinks by the same factor.
///
///     1 - (1 - final)^(round / rounds)
///
/// Values    0 before the first round, `final` after the last
/// Errors    ArgumentError for a sparsity outside [0, 1] or fewer rounds than one
/// Source    Tanaka et al., "Pruning neural networks without any data by iteratively conserving
///           synaptic flow", 2020
[[nodiscard]] inline double exponential_sparsity(Index round, Index rounds, double final) {
  detail::require_share(final, "final sparsity");
  const double share = detail::share_of_rounds(round, rounds);
  if (share == 0.0 || share == 1.0) return share * final;
  return std::clamp(1.0 - std::pow(1.0 - final, share), 0.0, final);
}

/// The same with equal steps: final * round / rounds, of the weights that there were at first.
[[nodiscard]] inline double linear_rounds_sparsity(Index round, Index rounds, double final) {
  detail::require_share(final, "final sparsity");
  return detail::share_of_rounds(round, rounds) * final;
}

/// The share of what REMAINS that each of `rounds` rounds removes to arrive at `final`.
///
///     1 - (1 - final)^(1 / rounds)
[[nodiscard]] inline double per_round_ratio(Index rounds, double final) {
  return exponential_sparsity(1, rounds, final);
}

/// After `level` rounds of which each removes the share `ratio` of what remains: 1 - (1 -
/// ratio)^level.
///
/// Errors    ArgumentError for a ratio outside [0, 1] or a negative level
/// Source    Frankle and Carbin, "The Lottery Ticket Hypothesis", 2019
[[nodiscard]] inline double lottery_ticket_sparsity(Index level, double ratio = 0.2) {
  detail::require_share(ratio, "ratio of a round");
  if (level < 0) throw ArgumentError("level " + std::to_string(level) + " of a lottery ticket");
  return 1.0 - std::pow(1.0 - ratio, static_cast<double>(level));
}

struct MovementSchedule {
  /// Shares that are KEPT.
  double initial = 1.0;
  double final = 0.7;
  Index steps = 0;
  Index warmup_steps = 0;
  /// How many times `warmup_steps` the schedule stays at its beginning and at its end.
  Index initial_warmup = 1;
  Index final_warmup = 2;
};

/// The share that movement pruning keeps: `initial`, then a cubic way down, then `final`.
///
/// Errors    ArgumentError for shares outside [0, 1], negative numbers, and warm-ups that do not
///           fit into the steps
/// Source    Sanh, Wolf and Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", 2020, and
///           the authors' code
[[nodiscard]] inline double movement_keep(Index step, const MovementSchedule& schedule) {
  detail::require_share(schedule.initial, "initial share");
  detail::require_share(schedule.final, "final share");
  for (const Index count :
       {schedule.steps, schedule.warmup_steps, schedule.initial_warmup, schedule.final_warmup})
    if (count < 0) throw ArgumentError("a movement schedule has a negative number");
  const Index begin = schedule.initial_warmup * schedule.warmup_steps,
              end = schedule.steps - schedule.final_warmup * schedule.warmup_steps;
  if (begin > end)
    throw ArgumentError("the warm-ups of a movement schedule do not fit into " +
                        std::to_string(schedule.steps) + " steps");
  // The formula is the same for shares that stay.
  return cubic_sparsity(
      step,
      {.initial = schedule.initial, .final = schedule.final, .begin = begin, .span = end - begin});
}

}  // namespace pare
