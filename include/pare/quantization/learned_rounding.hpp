#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "pare/calibration/hessian.hpp"
#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/core/function_ref.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm.hpp"

namespace pare {

/// A layer's weight whose rounding is learned by gradients: AutoRound<F> or AdaRound<F>.
class LearnedRounding {
 public:
  LearnedRounding() = default;
  LearnedRounding(const LearnedRounding&) = delete;
  LearnedRounding& operator=(const LearnedRounding&) = delete;
  virtual ~LearnedRounding() = default;

  /// The fake-quantized weight of today, (rows, cols): what the layer should compute with.
  [[nodiscard]] MatrixView<const float> values() const noexcept { return values_; }
  /// True where values() lie between codes while it learns: what they cost is not what codes will.
  [[nodiscard]] virtual bool is_soft() const noexcept { return false; }
  /// Of soft ones: values(), so far those of codes, become soft.
  virtual void soften(const Execution& /*execution*/) {}
  /// Of soft ones: the learned codes take the place of what lies between them.
  virtual void harden(const Execution& /*execution*/) {}
  /// Moves against `gradient`, that of the loss with respect to values().
  virtual void step(MatrixView<const float> gradient, Index iteration,
                    const Execution& execution) = 0;
  /// The codes of today are the best so far.
  virtual void keep() = 0;

 protected:
  Matrix<float> values_;
};

/// What a solver minimizes: given the weights of all layers, their loss, and its gradients with
/// respect to them, which are to be added to zeros. `iteration` says which data to take, if there
/// is a choice: it is the number of iterations when results are compared with each other.
using RoundingLoss =
    FunctionRef<double(Index iteration, std::span<const MatrixView<const float>> weights,
                       std::span<const MatrixView<float>> gradients)>;

/// What happened on the way.
struct LearnedRoundingReport {
  double first_loss = 0.0;   ///< of the codes it began with
  double best_loss = 0.0;    ///< of the codes that were kept
  Index best_iteration = 0;  ///< 0: those it began with
};

/// Learns the rounding of layers together.
///
/// In every iteration the loss is asked for once, and all layers take a step. The codes with the
/// least loss are kept; those that the layers began with are among them. Soft layers (AdaRound)
/// are compared at the end, with two more questions: the codes they began with, and those that they
/// learned.
///
/// Errors    ArgumentError for no layers or less than one iteration; NumericError naming the
///           iteration when a loss or a gradient is not finite
/// Order     that of the loss: the rest does not depend on the number of threads
inline LearnedRoundingReport learn_rounding(std::span<LearnedRounding* const> layers,
                                            Index iterations, RoundingLoss loss,
                                            const Execution& execution = {}) {
  if (layers.empty()) throw ArgumentError("there is no layer to learn the rounding of");
  if (iterations < 1)
    throw ArgumentError("rounding is learned in at least one iteration, not " +
                        std::to_string(iterations));
  std::vector<Matrix<float>> memory;
  for (const LearnedRounding* layer : layers) memory.emplace_back(layer->values().shape());
  std::vector<MatrixView<float>> gradients(memory.begin(), memory.end());
  const auto ask = [&](Index iteration) {
    std::vector<MatrixView<const float>> weights;
    for (const LearnedRounding* layer : layers) weights.push_back(layer->values());
    for (Matrix<float>& gradient : memory) gradient.fill(0.0f);
    const double value = loss(iteration, weights, gradients);
    if (!is_finite(value))
      throw NumericError("the loss is not finite in iteration " + std::to_string(iteration));
    return value;
  };
  const auto standard = [&](const auto& run) { with_standard_floats(execution, run); };
  const bool soft = std::any_of(layers.begin(), layers.end(),
                                [](const LearnedRounding* layer) { return layer->is_soft(); });
  LearnedRoundingReport report;
  const auto compare = [&](double value, Index iteration, bool is_first) {
    if (is_first) report.first_loss = value;
    if (!is_first && !(value < report.best_loss)) return;
    report.best_loss = value;
    report.best_iteration = iteration;
    for (LearnedRounding* layer : layers) layer->keep();
  };

  if (soft) {
    compare(ask(iterations), 0, true);
    standard([&](const Execution& e) {
      for (LearnedRounding* layer : layers) layer->soften(e);
    });
  }
  for (Index i = 0; i < iterations; ++i) {
    const double value = ask(i);
    if (!soft) compare(value, i, i == 0);
    if (!soft && i + 1 == iterations) break;  // nobody would ask what a last step led to
    for (std::size_t k = 0; k < layers.size(); ++k) {
      with_context("iteration " + std::to_string(i),
                   [&] { require_finite(MatrixView<const float>(gradients[k]), "gradient"); });
      standard([&](const Execution& e) { layers[k]->step(gradients[k], i, e); });
    }
  }
  if (soft) {
    standard([&](const Execution& e) {
      for (LearnedRounding* layer : layers) layer->harden(e);
    });
    compare(ask(iterations), iterations, false);
  }
  return report;
}

/// The squared error of a layer's output for inputs of which the second moments are known: the mean
/// over tokens of |(Q - W) x|^2 is tr((Q - W) H (Q - W)ᵀ) / 2.
class LayerOutputError {
 public:
  /// Keeps a view of `w`. Throws ShapeError and ArgumentError as gptq, and NumericError for a
  /// weight that is not finite.
  LayerOutputError(MatrixView<const float> w, const Hessian& h, const Execution& execution = {})
      : w_(w), h_({h.in_features(), h.in_features()}), execution_(execution) {
    if (h.in_features() != w.cols())
      throw ShapeError("a Hessian of " + std::to_string(h.in_features()) +
                       " inputs does not fit the weight of shape " + to_string(w.shape()));
    require_finite(w, "weight");
    const MatrixView<const double> sums = h.upper_sums();
    const double scale = h.scale();
    for (Index i = 0; i < h_.rows(); ++i)
      for (Index j = i; j < h_.cols(); ++j)
        h_(i, j) = h_(j, i) = static_cast<float>(sums(i, j) * scale);
  }

  /// The error of the weight q; its gradient, (Q - W) H, is added.
  double operator()(MatrixView<const float> q, MatrixView<float> gradient) const {
    Matrix<float> difference(q);
    execution_.parallel_for(q.rows(), [&](Index i) {
      for (Index j = 0; j < q.cols(); ++j) difference(i, j) -= w_(i, j);
    });
    Matrix<float> product(q.shape());
    gemm(1.0f, difference, h_, product, execution_);
    Vector<double> rows({q.rows()});
    execution_.parallel_for(q.rows(), [&](Index i) {
      for (Index j = 0; j < q.cols(); ++j) {
        rows[i] += static_cast<double>(difference(i, j)) * static_cast<double>(product(i, j));
        gradient(i, j) += product(i, j);
      }
    });
    double sum = 0.0;
    for (Index i = 0; i < rows.size(); ++i) sum += rows[i];
    return 0.5 * sum;
  }

 private:
  MatrixView<const float> w_;
  Matrix<float> h_;
  Execution execution_;
};

/// Learns the rounding of one layer so that its output changes least.
inline LearnedRoundingReport learn_layer(MatrixView<const float> w, const Hessian& h,
                                         LearnedRounding& layer, Index iterations,
                                         const Execution& execution = {}) {
  const LayerOutputError error(w, h, execution);
  LearnedRounding* const layers[] = {&layer};
  const auto loss = [&](Index, std::span<const MatrixView<const float>> weights,
                        std::span<const MatrixView<float>> gradients) {
    return error(weights[0], gradients[0]);
  };
  return learn_rounding(layers, iterations, loss, execution);
}

}  // namespace pare
