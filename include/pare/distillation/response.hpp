#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "pare/core/finite.hpp"
#include "pare/distillation/samples.hpp"
#include "pare/distillation/softmax.hpp"

/// What losses between logits share: options, checks, and the way from the gradient of
/// log-probabilities to that of logits.
namespace pare {

/// Options of losses between rows of logits, beside those that all sums over samples have.
struct ResponseOptions {
  /// Logits are divided by it on both sides. One for all samples, or each has its own.
  double temperature = 1.0;
  VectorView<const double> sample_temperatures{};
  /// Multiplies each sample's loss by the square of its temperature, so that a gradient keeps its
  /// size when the temperature changes. Hinton et al., RepDistiller, mdistiller, NNI and PKD do so;
  /// TextBrewer, TinyBERT and TRL's GKD do not.
  bool times_temperature_squared = true;
  /// How many columns are the vocabulary, where embeddings are padded and one side is wider. 0:
  /// both sides have as many columns. Columns beyond it count nowhere, their gradient is 0.
  Index vocabulary = 0;
  /// The student's columns beyond the vocabulary stay in its softmax, and are pushed to
  /// probability 0, which the teacher gives them.
  bool keep_student_padding = false;
  SampleOptions common{};
};

/// Rows of logits of several teachers, or students.
template <class T>
using ManyLogits = std::type_identity_t<std::span<const MatrixView<const T>>>;

namespace detail {

/// Throws ArgumentError unless it is a positive number.
inline void require_temperature(double temperature, const std::string& where = "") {
  if (!is_finite(temperature) || temperature <= 0.0)
    throw ArgumentError("the temperature" + where + " is " + std::to_string(temperature) +
                        ": it must be a positive number");
}

/// Throws ArgumentError unless it is a number from 0.
inline void require_loss_weight(double weight, const char* what) {
  if (!is_finite(weight) || weight < 0.0)
    throw ArgumentError("the " + std::string(what) + " is " + std::to_string(weight) +
                        ": it must be a number from 0");
}

/// Throws ArgumentError unless it is in [0, 1].
inline void require_loss_share(double share, const char* what) {
  if (!(share >= 0.0 && share <= 1.0))
    throw ArgumentError("the " + std::string(what) + " is " + std::to_string(share) +
                        ", outside [0, 1]");
}

/// Throws NumericError naming the first NaN or +inf of a row of logits, or a row that is -inf
/// throughout.
template <class T>
void require_logits(VectorView<const T> row, const char* who, Index i) {
  bool is_possible = false;
  for (Index j = 0; j < row.size(); ++j) {
    const auto z = static_cast<double>(row[j]);
    if (is_finite(z)) {
      is_possible = true;
    } else if (is_nan(z) || z > 0.0) {
      throw NumericError("the " + std::string(who) + "'s logits hold " +
                         (is_nan(z) ? "NaN" : "infinity") + " at [" + std::to_string(i) + ", " +
                         std::to_string(j) + "]");
    }
  }
  if (!is_possible)
    throw NumericError("no class is possible in row " + std::to_string(i) + " of the " + who +
                       "'s logits: all are -infinity");
}

/// The same with -inf refused, where logits are more than exponents.
template <class T>
void require_finite_logits(VectorView<const T> row, const char* who, Index i) {
  require_logits(row, who, i);
  for (Index j = 0; j < row.size(); ++j)
    if (!is_finite(static_cast<double>(row[j])))
      throw NumericError("the " + std::string(who) + "'s logits hold -infinity at [" +
                         std::to_string(i) + ", " + std::to_string(j) +
                         "]: this loss takes finite ones only");
}

/// The softmax of one checked row.
template <class T>
[[nodiscard]] Softmax softmax_of(VectorView<const T> row, double temperature, const char* who,
                                 Index i, Index classes = 0) {
  require_logits(row, who, i);
  return Softmax(row, temperature, classes);
}

/// How many columns of both sides count. Throws ShapeError for another number of rows, no column,
/// or columns that differ without a vocabulary that says which count.
[[nodiscard]] inline Index vocabulary_of(const Shape<2>& student, const Shape<2>& teacher,
                                         Index vocabulary) {
  const std::string shapes = "the teacher's logits have shape " + to_string(teacher) +
                             ", the student's " + to_string(student);
  if (student[0] != teacher[0]) throw ShapeError(shapes);
  if (vocabulary == 0 && student[1] != teacher[1])
    throw ShapeError(shapes +
                     ": where padding differs, the option vocabulary says how many "
                     "columns count");
  const Index columns = std::min(student[1], teacher[1]);
  if (vocabulary < 0 || vocabulary > columns)
    throw ShapeError("a vocabulary of " + std::to_string(vocabulary) + " does not fit: " + shapes);
  if (columns == 0) throw ShapeError("logits without classes: " + shapes);
  return vocabulary == 0 ? columns : vocabulary;
}

[[nodiscard]] inline double temperature_of(const ResponseOptions& options, Index i) {
  return options.sample_temperatures.empty() ? options.temperature : options.sample_temperatures[i];
}

/// The loss of a batch of student's logits from those of its rows.
///
/// `loss_of(i, temperature, dz)` returns the loss of row i and writes into dz, which is 0, its
/// gradient with respect to the tempered logits z / temperature of the first `columns` columns;
/// that of the others is 0. Rows of weight 0 are not read.
template <class T, class F>
[[nodiscard]] double row_loss(MatrixView<const T> student, Index columns,
                              const ResponseOptions& options, MatrixView<T> gradient,
                              const Execution& execution, const F& loss_of) {
  require_gradient_shape(gradient, student.shape());
  if (options.sample_temperatures.empty())
    require_temperature(options.temperature);
  else if (options.sample_temperatures.size() != student.rows())
    throw ShapeError("there are " + std::to_string(options.sample_temperatures.size()) +
                     " temperatures for " + std::to_string(student.rows()) + " samples");
  for (Index i = 0; i < options.sample_temperatures.size(); ++i)
    require_temperature(options.sample_temperatures[i], " of sample " + std::to_string(i));
  const bool has_gradient = gradient.data() != nullptr, add = options.common.add_gradient;
  return sum_over_samples(student.rows(), options.common, execution, [&](Index i, double factor) {
    std::vector<double> dz(static_cast<std::size_t>(student.cols()));
    double loss = 0.0, per_logit = 0.0;
    if (factor != 0.0) {
      const double temperature = temperature_of(options, i);
      const double scale = options.times_temperature_squared ? temperature * temperature : 1.0;
      const auto counted = static_cast<std::size_t>(columns);
      loss = scale * loss_of(i, temperature, std::span<double>(dz).first(counted));
      per_logit = factor * scale / temperature;
    }
    for (Index j = 0; has_gradient && j < student.cols(); ++j)
      put_gradient(gradient(i, j), per_logit * dz[static_cast<std::size_t>(j)], add);
    return loss;
  });
}

/// The same through the student's softmax: `loss_of(i, q, h)` gets that of row i and writes into h
/// the gradient with respect to q's log-probabilities.
template <class T, class F>
[[nodiscard]] double student_loss(MatrixView<const T> student, Index columns,
                                  const ResponseOptions& options, MatrixView<T> gradient,
                                  const Execution& execution, const F& loss_of) {
  return row_loss(student, columns, options, gradient, execution,
                  [&](Index i, double temperature, std::span<double> h) {
                    const Softmax q =
                        softmax_of(student.row(i).slice(0, 0, columns), temperature, "student", i);
                    const double loss = loss_of(i, q, h);
                    // dL/dz = h - q sum(h)
                    double sum = 0.0;
                    for (const double h_j : h) sum += h_j;
                    for (Index j = 0; j < columns; ++j)
                      h[static_cast<std::size_t>(j)] -= q[j] * sum;
                    return loss;
                  });
}

/// The same of a student and a teacher: `loss_of(i, q, p, h)` gets the teacher's softmax p too, of
/// as many classes as q.
template <class T, class F>
[[nodiscard]] double response_loss(MatrixView<const T> student, MatrixView<const T> teacher,
                                   const ResponseOptions& options, MatrixView<T> gradient,
                                   const Execution& execution, const F& loss_of) {
  const Index vocabulary = vocabulary_of(student.shape(), teacher.shape(), options.vocabulary);
  const Index columns = options.keep_student_padding ? student.cols() : vocabulary;
  return student_loss(student, columns, options, gradient, execution,
                      [&](Index i, const Softmax& q, std::span<double> h) {
                        const Softmax p =
                            softmax_of(teacher.row(i).slice(0, 0, vocabulary),
                                       temperature_of(options, i), "teacher", i, columns);
                        return loss_of(i, q, p, h);
                      });
}

/// The same where the loss is a sum over classes: `term(q, log_q, p, log_p, h)` returns the share
/// of a class and writes its h.
template <class T, class F>
[[nodiscard]] double divergence_loss(MatrixView<const T> student, MatrixView<const T> teacher,
                                     const ResponseOptions& options, MatrixView<T> gradient,
                                     const Execution& execution, const F& term) {
  return response_loss(student, teacher, options, gradient, execution,
                       [&](Index, const Softmax& q, const Softmax& p, std::span<double> h) {
                         double sum = 0.0;
                         for (Index j = 0; j < q.size(); ++j)
                           sum +=
                               term(q[j], q.log(j), p[j], p.log(j), h[static_cast<std::size_t>(j)]);
                         return sum;
                       });
}

}  // namespace detail
}  // namespace pare
