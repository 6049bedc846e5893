#pragma once

#include <utility>
#include <vector>

#include "pare/core/random.hpp"
#include "pare/core/tensor.hpp"
#include "pare/distillation/response.hpp"

/// Born-again networks: a generation teaches the next one of the same size, by kl_loss or by one of
/// the two halves of what it knows. Source: Furlanello et al., "Born Again Neural Networks", 2018.
namespace pare {

/// Confidence weighted by teacher max (CWTM): how sure the teacher is is all that it says. Sample
/// weights of a cross entropy with labels,
///
///     w_i = max_j p_ij / sum_i' max_j p_i'j
///
///     const auto w = cwtm_weights(teacher);
///     cross_entropy_loss(student, labels, {.common = {.sample_weights = w, .divisor = 1}});
///
/// Shapes    teacher (samples, classes); the result (samples), which has the sum 1
/// Errors    as kl_loss
template <class T = float>
[[nodiscard]] Vector<double> cwtm_weights(LossInput<T> teacher) {
  Vector<double> weights({teacher.rows()});
  double sum = 0.0;
  for (Index i = 0; i < teacher.rows(); ++i) {
    const detail::Softmax p = detail::softmax_of(teacher.row(i), 1.0, "teacher", i);
    sum += weights[i] = p[p.most_likely()];
  }
  for (double& w : weights.span()) w /= sum;
  return weights;
}

/// Dark knowledge with permuted predictions (DKPP): what the teacher says of its second choices is
/// there in size, not in place. Targets for soft_target_cross_entropy_loss: the teacher's
/// probabilities, of which those but the largest of a row are permuted by chance.
///
/// Shapes    teacher and the result (samples, classes)
/// Errors    as kl_loss; ArgumentError for a bad temperature
template <class T = float>
[[nodiscard]] Matrix<T> dkpp_targets(LossInput<T> teacher, Random& random,
                                     double temperature = 1.0) {
  detail::require_temperature(temperature);
  Matrix<T> targets(teacher.shape());
  std::vector<Index> others;
  for (Index i = 0; i < teacher.rows(); ++i) {
    const detail::Softmax p = detail::softmax_of(teacher.row(i), temperature, "teacher", i);
    const Index first = p.most_likely();
    others.clear();
    for (Index j = 0; j < p.size(); ++j)
      if (j != first) others.push_back(j);
    for (std::size_t k = others.size(); k > 1; --k)
      std::swap(others[k - 1], others[random.below(static_cast<std::uint32_t>(k))]);
    std::size_t next = 0;
    for (Index j = 0; j < p.size(); ++j)
      targets(i, j) = static_cast<T>(p[j == first ? first : others[next++]]);
  }
  return targets;
}

}  // namespace pare
