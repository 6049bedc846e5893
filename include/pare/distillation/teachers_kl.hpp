#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "pare/distillation/kl.hpp"

namespace pare {

/// Weights of several teachers, from 0: one of each (teachers), or one of each for each sample
/// (teachers, samples). Where neither is given, all have 1 / teachers.
struct TeacherWeights {
  VectorView<const double> of_teacher{};
  MatrixView<const double> of_sample{};
};

namespace detail {

/// The weight of teacher m for sample i.
[[nodiscard]] inline double weight_of(const TeacherWeights& weights, std::size_t teachers,
                                      std::size_t m, Index i) {
  const auto row = static_cast<Index>(m);
  if (!weights.of_sample.empty()) return weights.of_sample(row, i);
  if (!weights.of_teacher.empty()) return weights.of_teacher[row];
  return 1.0 / static_cast<double>(teachers);
}

/// Throws unless there are teachers, of one shape, and a good weight for each.
template <class T>
void require_teachers(std::span<const MatrixView<const T>> teachers,
                      const TeacherWeights& weights) {
  if (teachers.empty()) throw ArgumentError("there is no teacher");
  const auto count = static_cast<Index>(teachers.size());
  const Shape<2>& shape = teachers[0].shape();
  for (std::size_t m = 1; m < teachers.size(); ++m)
    if (teachers[m].shape() != shape)
      throw ShapeError("teacher " + std::to_string(m) + " has shape " +
                       to_string(teachers[m].shape()) + ", teacher 0 " + to_string(shape));
  if (!weights.of_teacher.empty() && weights.of_teacher.size() != count)
    throw ShapeError("there are " + std::to_string(weights.of_teacher.size()) + " weights for " +
                     std::to_string(count) + " teachers");
  if (!weights.of_sample.empty() && weights.of_sample.shape() != Shape<2>{count, shape[0]})
    throw ShapeError("weights of shape " + to_string(weights.of_sample.shape()) + " for " +
                     std::to_string(count) + " teachers and " + std::to_string(shape[0]) +
                     " samples");
  for (std::size_t m = 0; m < teachers.size(); ++m)
    for (Index i = 0; i < shape[0]; ++i)
      require_loss_weight(weight_of(weights, teachers.size(), m, i), "weight of a teacher");
}

}  // namespace detail

struct TeachersOptions {
  TeacherWeights weights{};
  ResponseOptions response{};
};

/// The weighted sum of the KL from each teacher.
///
///     L_i = T^2 sum_m w_mi KL(p_m || q)
///
/// Shapes    student, each teacher and gradient (samples, classes), as in kl_loss
/// Values    with weights of sum 1 the gradient is that of the KL from the mean of probabilities
///           (mean_probabilities); a mean of logits (mean_logits) is another, sharper target.
///           entropy_weights, confidence_weights and aekd_weights make weights; their authors'
///           code (EBKD, CA-MKD) divides the loss by the number of teachers once more, which is
///           `.common = {.weight = 1.0 / teachers}`
/// Errors    as kl_loss; ArgumentError without teachers, or for a weight that is negative or not
///           finite. Teachers of other temperatures or vocabularies are a call of kl_loss each,
///           with add_gradient
/// Source    You et al., "Learning from Multiple Teacher Networks", 2017
template <class T = float>
double teachers_kl_loss(LossInput<T> student, ManyLogits<T> teachers,
                        const TeachersOptions& options = {}, LossGradient<T> gradient = {},
                        const Execution& execution = {}) {
  detail::require_teachers<T>(teachers, options.weights);
  const ResponseOptions& response = options.response;
  const Index vocabulary =
      detail::vocabulary_of(student.shape(), teachers[0].shape(), response.vocabulary);
  const Index columns = response.keep_student_padding ? student.cols() : vocabulary;
  return detail::student_loss<T>(
      student, columns, response, gradient, execution,
      [&](Index i, const detail::Softmax& q, std::span<double> h) {
        double loss = 0.0;
        for (std::size_t m = 0; m < teachers.size(); ++m) {
          const double w = detail::weight_of(options.weights, teachers.size(), m, i);
          const detail::Softmax p =
              detail::softmax_of(teachers[m].row(i).slice(0, 0, vocabulary),
                                 detail::temperature_of(response, i), "teacher", i, columns);
          for (Index j = 0; j < columns; ++j) {
            double h_j = 0.0;
            loss += w * detail::forward_kl_term(q[j], q.log(j), p[j], p.log(j), h_j);
            h[static_cast<std::size_t>(j)] += w * h_j;
          }
        }
        return loss;
      });
}

}  // namespace pare
