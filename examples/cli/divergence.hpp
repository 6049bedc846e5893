#pragma once

#include <algorithm>
#include <cmath>

#include "pare/core/index.hpp"

namespace cli {

using pare::Index;

/// log(sum(exp(logits))) of one row, in double.
[[nodiscard]] inline double log_sum_exp(const float* logits, Index count) {
  const double largest = static_cast<double>(*std::max_element(logits, logits + count));
  double sum = 0.0;
  for (Index j = 0; j < count; ++j) sum += std::exp(static_cast<double>(logits[j]) - largest);
  return largest + std::log(sum);
}

/// KL(softmax(reference) || softmax(logits)) in nats.
[[nodiscard]] inline double kl_divergence(const float* reference, const float* logits,
                                          Index count) {
  const double norm = log_sum_exp(logits, count);
  const double reference_norm = log_sum_exp(reference, count);
  double kl = 0.0;
  for (Index j = 0; j < count; ++j) {
    const double log_p = static_cast<double>(reference[j]) - reference_norm;
    kl += std::exp(log_p) * (log_p - (static_cast<double>(logits[j]) - norm));
  }
  return kl;
}

}  // namespace cli
