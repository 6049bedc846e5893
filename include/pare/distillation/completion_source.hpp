#pragma once

#include <algorithm>
#include <string>

#include "pare/core/random.hpp"
#include "pare/distillation/response.hpp"

/// Where the completions come from that a batch distils: which one a step takes depends on the
/// random numbers only. The loss is the same for all: no gradient goes through sampling.
namespace pare {

enum class CompletionSource {
  data,      ///< as they are in the data
  student,   ///< sampled from the student now
  teacher,   ///< sampled from the teacher
  replayed,  ///< sampled from the student some steps ago
};

struct GkdMixing {
  /// How often the student's own completions are taken, `lmbda` in TRL.
  double student_share = 0.5;
  /// The teacher's are taken otherwise, not the data's.
  bool teacher_otherwise = false;
};

/// On-policy distillation's choice for a batch.
///
/// Errors    ArgumentError for a share outside [0, 1]
/// Source    Agarwal et al., "On-Policy Distillation of Language Models" (GKD), 2023; TRL
[[nodiscard]] inline CompletionSource gkd_source(Random& random, const GkdMixing& mixing = {}) {
  detail::require_loss_share(mixing.student_share, "share of the student's completions");
  if (static_cast<double>(random.uniform()) < mixing.student_share)
    return CompletionSource::student;
  return mixing.teacher_otherwise ? CompletionSource::teacher : CompletionSource::data;
}

/// DistiLLM's threshold after a validation: where the loss became worse than before, more is
/// sampled from the student.
///
///     threshold + step where loss >= previous + margin, at most 1; begins at 0
///
/// Errors    ArgumentError for a threshold outside [0, 1]
[[nodiscard]] inline double next_replay_threshold(double threshold, double previous_loss,
                                                  double loss, double margin = 0.1,
                                                  double step = 0.1) {
  detail::require_loss_share(threshold, "threshold of replay");
  return loss >= previous_loss + margin ? std::min(threshold + step, 1.0) : threshold;
}

/// DistiLLM's choice for a batch: new samples (which the caller keeps to replay) become rarer, old
/// ones do not.
///
///     student where u < threshold (1 - step / steps), replayed where u' < threshold, else data
///
/// Errors    ArgumentError for a threshold outside [0, 1], or fewer steps than one
/// Source    Ko et al., "DistiLLM: Towards Streamlined Distillation for Large Language Models",
///           2024
[[nodiscard]] inline CompletionSource replay_source(Random& random, double threshold, Index step,
                                                    Index steps) {
  detail::require_loss_share(threshold, "threshold of replay");
  if (steps < 1) throw ArgumentError("there are " + std::to_string(steps) + " steps");
  const double passed =
      static_cast<double>(std::clamp<Index>(step, 0, steps)) / static_cast<double>(steps);
  // Both are drawn always, so that what a step draws does not depend on the threshold.
  const auto first = static_cast<double>(random.uniform()),
             second = static_cast<double>(random.uniform());
  if (first < threshold * (1.0 - passed)) return CompletionSource::student;
  return second < threshold ? CompletionSource::replayed : CompletionSource::data;
}

}  // namespace pare
