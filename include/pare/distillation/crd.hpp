#pragma once

#include <cmath>
#include <string>

#include "pare/core/random.hpp"
#include "pare/distillation/feature_values.hpp"

namespace pare {

/// The embeddings that all samples of a data set had when they were last seen, of student and
/// teacher: what a contrastive loss takes its negatives from.
///
/// Source    Tian et al., "Contrastive Representation Distillation", 2020
struct ContrastiveMemory {
  Matrix<double> student, teacher;  ///< (samples, features), rows of length 1
  /// What scores are divided by, of each side: set by the first batch, 0 before.
  double student_scale = 0.0, teacher_scale = 0.0;

  ContrastiveMemory() = default;
  /// Uniform numbers within 1 / sqrt(features / 3), as the authors begin.
  /// Throws ArgumentError for no samples or features.
  ContrastiveMemory(Index samples, Index features, std::uint64_t seed)
      : student({samples, features}), teacher({samples, features}) {
    if (samples < 1 || features < 1)
      throw ArgumentError("a memory of " + std::to_string(samples) + " samples and " +
                          std::to_string(features) + " features");
    Random random(seed);
    const float width = 1.0f / std::sqrt(static_cast<float>(features) / 3.0f);
    for (Matrix<double>* bank : {&student, &teacher})
      for (double& v : *bank) v = static_cast<double>(random.uniform(-width, width));
  }
};

struct CrdOptions {
  double temperature = 0.07;
  double momentum = 0.5;  ///< of what a memory keeps when a sample is seen again
  LossOptions common{};
};

namespace detail {

/// One side: v against a bank, whose rows are the sample itself and its negatives. Adds to dv.
[[nodiscard]] inline double contrast(const Matrix<double>& v, const Matrix<double>& bank,
                                     MatrixView<const Index> chosen, const CrdOptions& options,
                                     double& scale, Matrix<double>& dv,
                                     const Execution& execution) {
  constexpr double epsilon = 1e-7;
  const Index batch = v.rows(), count = chosen.cols();
  const auto samples = static_cast<double>(bank.rows());
  Matrix<double> x({batch, count});
  execution.parallel_for(batch, [&](Index i) {
    for (Index k = 0; k < count; ++k) {
      double product = 0.0;
      for (Index j = 0; j < v.cols(); ++j) product += v(i, j) * bank(chosen(i, k), j);
      x(i, k) = product / options.temperature;
    }
  });
  if (scale == 0.0) {
    double sum = 0.0;
    for (const double score : x) sum += std::exp(score);
    scale = sum / static_cast<double>(x.size()) * samples;
  }
  if (!is_finite(scale) || scale <= 0.0)
    throw NumericError("scores are divided by " + std::to_string(scale) +
                       ": a larger temperature than " + std::to_string(options.temperature) +
                       " makes them numbers");
  const double log_scale = std::log(scale), noise = static_cast<double>(count - 1) / samples;
  Vector<double> losses({batch});
  execution.parallel_for(batch, [&](Index i) {
    for (Index k = 0; k < count; ++k) {
      // log(share + noise + epsilon) and the share of it, of shares that overflow too.
      const double log_share = x(i, k) - log_scale, share = std::exp(log_share);
      const double others = noise + epsilon;
      const double log_all =
          share > 1.0 ? log_share + std::log1p(others / share) : std::log(share + others);
      const double of_all = share > 1.0 ? 1.0 / (1.0 + others / share) : share / (share + others);
      losses[i] += log_all - (k == 0 ? log_share : std::log(noise));
      const double slope =
          (of_all - (k == 0 ? 1.0 : 0.0)) / static_cast<double>(batch) / options.temperature;
      for (Index j = 0; j < v.cols(); ++j) dv(i, j) += slope * bank(chosen(i, k), j);
    }
  });
  double loss = 0.0;
  for (const double of_sample : losses) loss += of_sample / static_cast<double>(batch);
  return loss;
}

/// Moves the rows of a bank towards what they are now.
inline void remember(const Matrix<double>& v, MatrixView<const Index> chosen, double momentum,
                     Matrix<double>& bank) {
  for (Index i = 0; i < v.rows(); ++i) {
    double square = 0.0;
    for (Index j = 0; j < v.cols(); ++j) {
      double& m = bank(chosen(i, 0), j);
      m = momentum * m + (1.0 - momentum) * v(i, j);
      square += m * m;
    }
    for (Index j = 0; j < v.cols() && square > 0.0; ++j) bank(chosen(i, 0), j) /= std::sqrt(square);
  }
}

}  // namespace detail

/// Contrastive representation distillation: each sample's student is told from other samples'
/// teachers, and its teacher from other samples' students, by noise-contrastive estimation.
///
/// Shapes    student, teacher (batch, features): embeddings, as a Regressor of each makes them, of
/// which
///           this function takes rows of length 1; chosen (batch, 1 + negatives): numbers of
///           samples in the memory, the sample itself first, the negatives of other classes. Both
///           embeddings are learned: there are two gradients
/// Values    the mean over the batch. The memory is moved after it was read
/// Errors    ShapeError; ArgumentError for a sample that the memory has not, no negatives, a
/// temperature that
///           is no positive number; NumericError for what is not finite
/// Source    Tian et al., "Contrastive Representation Distillation", 2020
template <class T = float>
double crd_loss(LossInput<T> student, LossInput<T> teacher, MatrixView<const Index> chosen,
                ContrastiveMemory& memory, const CrdOptions& options = {},
                LossGradient<T> student_gradient = {}, LossGradient<T> teacher_gradient = {},
                const Execution& execution = {}) {
  detail::require_loss_shape(teacher.shape(), student.shape(), "teacher");
  detail::require_gradient_shape(student_gradient, student.shape());
  detail::require_gradient_shape(teacher_gradient, student.shape());
  if (memory.student.cols() != student.cols() || memory.teacher.shape() != memory.student.shape())
    throw ShapeError("a memory of " + to_string(memory.student.shape()) +
                     " does not fit embeddings of " + to_string(student.shape()));
  if (chosen.rows() != student.rows() || chosen.cols() < 2)
    throw ArgumentError("for each of the " + std::to_string(student.rows()) +
                        " samples itself and at least one other is chosen, not " +
                        to_string(chosen.shape()));
  for (Index i = 0; i < chosen.rows(); ++i)
    for (Index k = 0; k < chosen.cols(); ++k)
      if (chosen(i, k) < 0 || chosen(i, k) >= memory.student.rows())
        throw ArgumentError("sample " + std::to_string(chosen(i, k)) + " is none of the " +
                            std::to_string(memory.student.rows()) + " of the memory");
  if (!is_finite(options.temperature) || options.temperature <= 0.0)
    throw ArgumentError("the temperature is " + std::to_string(options.temperature) +
                        ": it must be a positive number");
  if (!is_finite(options.momentum) || options.momentum < 0.0 || options.momentum >= 1.0)
    throw ArgumentError("the momentum is " + std::to_string(options.momentum) +
                        ": it must be from 0 to below 1");
  detail::require_loss_weight(options.common.weight);
  const detail::UnitRows s(detail::feature_values(student, "student"));
  const detail::UnitRows t(detail::feature_values(teacher, "teacher"));
  Matrix<double> ds(student.shape()), dt(student.shape());
  double student_scale = memory.student_scale, teacher_scale = memory.teacher_scale;
  const double loss =
      detail::contrast(s.values(), memory.teacher, chosen, options, teacher_scale, ds, execution) +
      detail::contrast(t.values(), memory.student, chosen, options, student_scale, dt, execution);
  memory.student_scale = student_scale;
  memory.teacher_scale = teacher_scale;
  detail::remember(s.values(), chosen, options.momentum, memory.student);
  detail::remember(t.values(), chosen, options.momentum, memory.teacher);
  s.pull_back(ds);
  t.pull_back(dt);
  detail::put_gradients(ds, options.common, student_gradient);
  detail::put_gradients(dt, options.common, teacher_gradient);
  return options.common.weight * loss;
}

}  // namespace pare
