#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "pare/core/float_arithmetic.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/formats/rounding.hpp"
#include "pare/quantization/learned_rounding.hpp"
#include "pare/quantization/quantize.hpp"

namespace pare {

struct AdaRoundOptions {
  /// How parameters of groups are found, before any weight is rounded; they stay.
  QuantizeOptions quantize{};
  Index iterations = 1000;
  /// Adam's, with its customary 0.9, 0.999 and 1e-8.
  double learning_rate = 1e-2;
  /// How much it counts that weights lie between codes.
  double regularization = 0.01;
  /// The share of iterations before that counts at all.
  double warm_start = 0.2;
  /// The exponent of the regularizer falls from one to the other, along half a cosine.
  double first_beta = 20.0, last_beta = 2.0;
};

/// AdaRound's parameters of a weight: how far each is rounded up from the code below it.
///
///     q = scale * (clip(floor(w / scale) + h(V) + zero_point) - zero_point)
///     h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1)
///
/// V begins where q = w, and moves by Adam with the gradients of loss + regularization * sum of
/// 1 - |2 h(V) - 1|^beta. In the end what lies above the middle is rounded up.
///
/// Source    Nagel et al., "Up or down? Adaptive rounding for post-training quantization", 2020,
///           eq. 22 to 24; warm start, cosine and numbers as in AIMET and PyTorch
template <Format F>
requires(F::is_integer) class AdaRound final : public LearnedRounding {
 public:
  /// Errors    as quantize; ArgumentError for iterations, rate, regularization, share of the warm
  ///           start, exponents, and blocks of several rows
  explicit AdaRound(MatrixView<const float> w, const AdaRoundOptions& options = {},
                    const Execution& execution = {})
      : options_(options),
        w_(w),
        today_(nearest(w, options, execution)),
        best_(today_),
        v_(w.shape()),
        mean_(w.shape()),
        square_(w.shape()) {
    values_ = Matrix<float>(w.shape());
    execution.parallel_for(w_.rows(), [&](Index i) {
      for (Index j = 0; j < w_.cols(); ++j) {
        values_(i, j) = today_.value(i, j);
        const float level = quotient(w_(i, j), parameters(i, j).scale);
        const float share = std::clamp(level - std::floor(level), 0.0f, 1.0f);
        v_(i, j) = -std::log((zeta - gamma) / (share - gamma) - 1.0f);
      }
    });
  }

  [[nodiscard]] bool is_soft() const noexcept override { return true; }
  void soften(const Execution& execution) override {
    execution.parallel_for(w_.rows(), [&](Index i) {
      for (Index j = 0; j < w_.cols(); ++j) values_(i, j) = soft_value(i, j);
    });
  }
  void harden(const Execution& execution) override {
    execution.parallel_for(w_.rows(), [&](Index i) {
      for (Index j = 0; j < w_.cols(); ++j) {
        const auto& p = parameters(i, j);
        const float up = v_(i, j) >= 0.0f ? 1.0f : 0.0f;
        today_.codes()(i, j) = static_cast<typename F::Code>(
            round_to_code(below(i, j) + up, F::zero_point(p), lowest, highest));
        values_(i, j) = today_.value(i, j);
      }
    });
  }

  /// Gradients of the loss, without the regularizer, with respect to V from that with respect to
  /// soft values(). Shapes: all (rows, cols)
  void backward(MatrixView<const float> gradient, MatrixView<float> d_v,
                const Execution& execution = {}) const {
    require_fit(gradient);
    execution.parallel_for(w_.rows(), [&](Index i) {
      for (Index j = 0; j < w_.cols(); ++j)
        d_v(i, j) =
            gradient(i, j) * (is_inside(i, j) ? parameters(i, j).scale : 0.0f) * slope(v_(i, j));
    });
  }
  /// The exponent of an iteration; nothing during the warm start.
  [[nodiscard]] std::optional<double> beta(Index iteration) const {
    const auto all = static_cast<double>(options_.iterations);
    const double begin = options_.warm_start * all, now = static_cast<double>(iteration);
    if (now < begin) return std::nullopt;
    const double share = (now - begin) / (all - begin);
    return options_.last_beta + 0.5 * (options_.first_beta - options_.last_beta) *
                                    (1.0 + std::cos(share * std::numbers::pi));
  }

  void step(MatrixView<const float> gradient, Index iteration,
            const Execution& execution) override {
    require_fit(gradient);
    constexpr double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
    const auto t = static_cast<double>(iteration + 1);
    const double of_mean = 1.0 - std::pow(beta1, t), of_square = 1.0 - std::pow(beta2, t);
    const std::optional<double> exponent = beta(iteration);
    execution.parallel_for(w_.rows(), [&](Index i) {
      for (Index j = 0; j < w_.cols(); ++j) {
        const auto h_slope = static_cast<double>(slope(v_(i, j)));
        double d = 0.0;
        if (is_inside(i, j))
          d = static_cast<double>(gradient(i, j)) * static_cast<double>(parameters(i, j).scale) *
              h_slope;
        if (exponent) {
          const double from_middle = 2.0 * static_cast<double>(share_up(v_(i, j))) - 1.0;
          const double fall = 2.0 * *exponent * std::pow(std::fabs(from_middle), *exponent - 1.0);
          d -= options_.regularization * (from_middle < 0.0 ? -fall : fall) * h_slope;
        }
        mean_(i, j) =
            static_cast<float>(beta1 * static_cast<double>(mean_(i, j)) + (1.0 - beta1) * d);
        square_(i, j) =
            static_cast<float>(beta2 * static_cast<double>(square_(i, j)) + (1.0 - beta2) * d * d);
        const double way = static_cast<double>(mean_(i, j)) / of_mean /
                           (std::sqrt(static_cast<double>(square_(i, j)) / of_square) + epsilon);
        v_(i, j) = static_cast<float>(static_cast<double>(v_(i, j)) - options_.learning_rate * way);
        values_(i, j) = soft_value(i, j);
      }
    });
  }

  void keep() override { best_ = today_; }
  /// The codes that were kept last: what they stand for is what values() were then, bit for bit.
  [[nodiscard]] const QuantizedMatrix<F>& best() const noexcept { return best_; }
  /// V: positive ones are rounded up in the end.
  [[nodiscard]] MatrixView<const float> rounding() const noexcept { return v_; }

 private:
  static constexpr float zeta = 1.1f, gamma = -0.1f;
  static constexpr int lowest = -F::code_offset, highest = code_count<F>() - 1 - F::code_offset;

  [[nodiscard]] static QuantizedMatrix<F> nearest(MatrixView<const float> w,
                                                  const AdaRoundOptions& options,
                                                  const Execution& execution) {
    const auto require = [](bool valid, const std::string& what, double value) {
      if (!valid) throw ArgumentError("the " + what + " of AdaRound is " + std::to_string(value));
    };
    if (options.iterations < 1)
      throw ArgumentError("AdaRound needs at least one iteration, not " +
                          std::to_string(options.iterations));
    require(options.learning_rate > 0.0 && is_finite(options.learning_rate),
            "learning rate, finite and positive,", options.learning_rate);
    require(options.regularization >= 0.0 && is_finite(options.regularization),
            "regularization, finite and not negative,", options.regularization);
    require(options.warm_start >= 0.0 && options.warm_start < 1.0, "warm start, in [0, 1),",
            options.warm_start);
    for (const double beta : {options.first_beta, options.last_beta})
      require(beta >= 1.0 && is_finite(beta), "exponent, finite and at least 1,", beta);
    auto q = quantize<F>(w, options.quantize, execution);
    if (!q.blocks().is_in_row())
      throw ArgumentError("AdaRound learns groups of neighbours in a row, no blocks of rows");
    return q;
  }
  void require_fit(MatrixView<const float> gradient) const {
    if (gradient.shape() != w_.shape())
      throw ShapeError("a gradient of shape " + to_string(gradient.shape()) +
                       " does not fit the weight of shape " + to_string(w_.shape()));
  }

  [[nodiscard]] static float sigmoid(float v) noexcept { return 1.0f / (1.0f + std::exp(-v)); }
  /// h(V) and its derivative.
  [[nodiscard]] static float share_up(float v) noexcept {
    return std::clamp((zeta - gamma) * sigmoid(v) + gamma, 0.0f, 1.0f);
  }
  [[nodiscard]] static float slope(float v) noexcept {
    const float s = sigmoid(v), h = (zeta - gamma) * s + gamma;
    return h > 0.0f && h < 1.0f ? (zeta - gamma) * s * (1.0f - s) : 0.0f;
  }
  [[nodiscard]] const typename F::Parameters& parameters(Index i, Index j) const noexcept {
    return today_.parameters()(i, today_.group_of(j));
  }
  /// The code below, before the zero point and clipping.
  [[nodiscard]] float below(Index i, Index j) const noexcept {
    return std::floor(quotient(w_(i, j), parameters(i, j).scale));
  }
  [[nodiscard]] float code_between(Index i, Index j) const noexcept {
    return below(i, j) + share_up(v_(i, j)) + static_cast<float>(F::zero_point(parameters(i, j)));
  }
  [[nodiscard]] bool is_inside(Index i, Index j) const noexcept {
    const float code = code_between(i, j);
    return code >= static_cast<float>(lowest) && code <= static_cast<float>(highest);
  }
  [[nodiscard]] float soft_value(Index i, Index j) const noexcept {
    const auto& p = parameters(i, j);
    const float code =
        std::clamp(code_between(i, j), static_cast<float>(lowest), static_cast<float>(highest));
    return p.scale * (code - static_cast<float>(F::zero_point(p)));
  }

  AdaRoundOptions options_;
  Matrix<float> w_;
  QuantizedMatrix<F> today_, best_;
  Matrix<float> v_, mean_, square_;
};

/// Codes that change a layer's output least for inputs of which the second moments are known.
///
/// Shapes    w (rows, n), any strides; a Hessian of n inputs
/// Errors    as AdaRound and LayerOutputError
/// Edge      never worse than the nearest codes
/// Order     independent of the number of threads
template <Format F>
[[nodiscard]] QuantizedMatrix<F> ada_round(MatrixView<const float> w, const Hessian& h,
                                           const AdaRoundOptions& options = {},
                                           const Execution& execution = {},
                                           LearnedRoundingReport* report = nullptr) {
  AdaRound<F> layer(w, options, execution);
  const auto learned = learn_layer(w, h, layer, options.iterations, execution);
  if (report) *report = learned;
  return layer.best();
}

/// The same for inputs x (tokens, n).
template <Format F>
[[nodiscard]] QuantizedMatrix<F> ada_round(MatrixView<const float> w, MatrixView<const float> x,
                                           const AdaRoundOptions& options = {},
                                           const Execution& execution = {},
                                           LearnedRoundingReport* report = nullptr) {
  Hessian h(w.cols());
  h.add(x, execution);
  return ada_round<F>(w, h, options, execution, report);
}

}  // namespace pare
