#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "pare/core/float_arithmetic.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/formats/rounding.hpp"
#include "pare/quantization/learned_rounding.hpp"
#include "pare/quantization/quantize.hpp"

namespace pare {

/// How AutoRound's parameters follow their gradients.
enum class AutoRoundSteps : std::uint8_t {
  sign,  ///< by the rate against its sign, as the paper
  adam   ///< by Adam, as the authors' second variant: what changes sign all the time moves little
};

struct AutoRoundOptions {
  /// Columns that share parameters; -1 is the whole row.
  Index group_size = -1;
  /// Unset: default_scale_type.
  std::optional<ScaleType> scale_type{};
  /// Of the ranges that it begins with; `method` is min_max, for the solver shrinks them itself.
  RangeOptions range{};
  Index iterations = 200;
  /// Of the first iteration, falling linearly to 0 after the last one. Unset: 1 / iterations, with
  /// which V can reach its bound and just that.
  std::optional<double> learning_rate{};
  AutoRoundSteps steps = AutoRoundSteps::sign;
  /// The same of the shares of ranges. Unset: the learning rate.
  std::optional<double> range_rate{};
  /// How far V may lead from where it began, in steps between codes.
  double bound = 0.5;
  /// The least share of a range that is left of it; 1 leaves ranges as they are.
  double least_range = 0.5;
};

/// AutoRound's parameters of a weight: what is added before rounding, and how much of each group's
/// range is used.
///
///     q = scale * (clip(round_half_even(w / scale + V) + zero_point) - zero_point)
///     scale, zero_point = those of the range [lower * min(w), upper * max(w)], as they are stored
///
/// Every iteration moves all of V, lower and upper by the rate against the sign of their gradients,
/// straight through what is rounded.
///
/// Source    Cheng et al., "Optimize weight rounding via signed gradient descent for the
///           quantization of LLMs", 2023, and the authors' code, whose bound of V is what the
///           rates add up to. Departs: a step that would leave a scale that its type cannot store
///           leaves the group's parameters as they were
template <Format F>
requires(F::is_integer) class AutoRound final : public LearnedRounding {
 public:
  /// Begins at the nearest codes: V = 0, whole ranges.
  ///
  /// Errors    ArgumentError and NumericError as quantize; ArgumentError for iterations, rate,
  ///           bound, and least range
  explicit AutoRound(MatrixView<const float> w, const AutoRoundOptions& options = {},
                     const Execution& execution = {})
      : AutoRound(w, nearest(w, options, execution), options, execution, false) {}

  /// Goes on from codes that another method has found over whole min-max ranges: in place of
  /// w / scale stand the codes, so that they stay while ranges shrink, until V has gone half a
  /// step.
  ///
  /// Errors    also ShapeError for codes of another shape; ArgumentError for another group size,
  ///           blocks of several rows, and a group index
  AutoRound(MatrixView<const float> w, QuantizedMatrix<F> begin,
            const AutoRoundOptions& options = {}, const Execution& execution = {})
      : AutoRound(w, std::move(begin), options, execution, true) {}

  /// Gradients of the loss with respect to V, lower and upper from that with respect to values().
  ///
  /// Shapes    gradient, d_v (rows, cols); d_lower, d_upper (rows, groups)
  /// Accuracy  sums over a group in float64
  void backward(MatrixView<const float> gradient, MatrixView<float> d_v, MatrixView<double> d_lower,
                MatrixView<double> d_upper, const Execution& execution = {}) const {
    if (gradient.shape() != w_.shape())
      throw ShapeError("a gradient of shape " + to_string(gradient.shape()) +
                       " does not fit the weight of shape " + to_string(w_.shape()));
    execution.parallel_for(w_.rows(), [&](Index i) {
      for (Index g = 0; g < today_.groups(); ++g) {
        const auto& p = today_.parameters()(i, g);
        const int zero = F::zero_point(p);
        const auto [first, count] = columns(g);
        double d_scale = 0.0, d_zero = 0.0;
        for (Index j = first; j < first + count; ++j) {
          const float level = level_of(i, j, p.scale);
          const std::int32_t code =
              round_to_code(rounded(level + v_(i, j)), zero, lowest - 1, highest + 1);
          const bool inside = code >= lowest && code <= highest;
          const auto upstream = static_cast<double>(gradient(i, j));
          const auto clipped = static_cast<double>(std::clamp(code, lowest, highest) - zero);
          d_v(i, j) = inside ? gradient(i, j) * p.scale : 0.0f;
          // w / scale moves against the scale; codes that it goes on from do not.
          const bool moves = inside && begin_.empty();
          d_scale += upstream * (moves ? clipped - static_cast<double>(level) : clipped);
          if (!inside) d_zero -= upstream * static_cast<double>(p.scale);
        }
        const auto [lower, upper] = range_gradient(i, g, d_scale, d_zero);
        d_lower(i, g) = lower;
        d_upper(i, g) = upper;
      }
    });
  }

  void step(MatrixView<const float> gradient, Index iteration,
            const Execution& execution) override {
    backward(gradient, dv_, dlower_, dupper_, execution);
    const double share = static_cast<double>(iteration) / static_cast<double>(options_.iterations);
    const double left = std::max(0.0, 1.0 - share);
    const auto rate = static_cast<float>(rate_ * left);
    const auto range_rate = static_cast<float>(range_rate_ * left);
    const auto bound = static_cast<float>(options_.bound);
    const auto least = static_cast<float>(options_.least_range);
    const auto t = static_cast<double>(iteration + 1);
    const double of_mean = 1.0 - std::pow(beta1, t), of_square = 1.0 - std::pow(beta2, t);
    const auto way = [&](auto d, Moments& moments) {
      return options_.steps == AutoRoundSteps::sign
                 ? sign(d)
                 : moments.take(static_cast<double>(d), of_mean, of_square);
    };
    execution.parallel_for(w_.rows(), [&](Index i) {
      Moments none;
      for (Index j = 0; j < w_.cols(); ++j) {
        Moments& own = moments_.empty() ? none : moments_(i, j);
        v_(i, j) = std::clamp(v_(i, j) - rate * way(dv_(i, j), own), -bound, bound);
      }
      for (Index g = 0; g < today_.groups(); ++g) {
        const auto moved = [&](float share_of_range, double d, Index k) {
          Moments& own = range_moments_.empty() ? none : range_moments_(i, 2 * g + k);
          return std::clamp(share_of_range - range_rate * way(d, own), least, 1.0f);
        };
        const float lower = moved(lower_(i, g), dlower_(i, g), 0);
        const float upper = moved(upper_(i, g), dupper_(i, g), 1);
        if (lower != lower_(i, g) || upper != upper_(i, g)) set_range(i, g, lower, upper);
      }
      round(i);
    });
  }

  void keep() override { best_ = today_; }

  /// The codes that were kept last: what they stand for is what values() were then, bit for bit.
  [[nodiscard]] const QuantizedMatrix<F>& best() const noexcept { return best_; }

  /// What is added before rounding, and the shares of ranges.
  [[nodiscard]] MatrixView<const float> rounding() const noexcept { return v_; }
  [[nodiscard]] MatrixView<const float> lower() const noexcept { return lower_; }
  [[nodiscard]] MatrixView<const float> upper() const noexcept { return upper_; }
  [[nodiscard]] const QuantizedMatrix<F>& today() const noexcept { return today_; }

 private:
  AutoRound(MatrixView<const float> w, QuantizedMatrix<F> begin, const AutoRoundOptions& options,
            const Execution& execution, bool goes_on)
      : options_(options),
        rate_(options.learning_rate.value_or(1.0 / static_cast<double>(options.iterations))),
        range_rate_(options.range_rate.value_or(rate_)),
        w_(w),
        today_(std::move(begin)),
        best_(today_),
        begin_(goes_on ? w.shape() : Shape<2>{}),
        v_(w.shape()),
        lower_(today_.parameters().shape()),
        upper_(lower_.shape()),
        ranges_(lower_.shape()),
        slope_(F::fit({-1.0f, 0.0f}, detail::fit_options(options.range, ScaleType::f32)).scale),
        dv_(w.shape()),
        dlower_(lower_.shape()),
        dupper_(lower_.shape()) {
    require_valid(options);
    require_finite(w, "weight");
    if (today_.codes().shape() != w.shape())
      throw ShapeError("codes of shape " + to_string(today_.codes().shape()) +
                       " do not fit the weight of shape " + to_string(w.shape()));
    if (today_.group_size() != options.group_size || !today_.blocks().is_in_row() ||
        !today_.group_index().empty())
      throw ArgumentError("codes to begin with need the group size " +
                          std::to_string(options.group_size) + ", of neighbours in a row");
    values_ = Matrix<float>(w.shape());
    if (options.steps == AutoRoundSteps::adam) {
      moments_ = Matrix<Moments>(w.shape());
      range_moments_ = Matrix<Moments>({w.rows(), 2 * lower_.cols()});
    }
    lower_.fill(1.0f);
    upper_.fill(1.0f);
    execution.parallel_for(w_.rows(), [&](Index i) {
      for (Index g = 0; g < today_.groups(); ++g) {
        const auto [first, count] = columns(g);
        Range range = range_of(&w_(i, first), count);
        if (F::has_zero_point && options_.range.extend_to_zero)
          range = {std::min(range.lo, 0.0f), std::max(range.hi, 0.0f)};
        ranges_(i, g) = range;
        const auto& p = today_.parameters()(i, g);
        for (Index j = first; j < first + count; ++j) {
          values_(i, j) = today_.value(i, j);
          if (!begin_.empty())
            begin_(i, j) = static_cast<float>(today_.code(i, j) - F::zero_point(p));
        }
      }
    });
  }

  static constexpr double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-12;
  /// Adam's, of one parameter.
  struct Moments {
    float mean = 0.0f, square = 0.0f;
    [[nodiscard]] float take(double d, double of_mean, double of_square) noexcept {
      mean = static_cast<float>(beta1 * static_cast<double>(mean) + (1.0 - beta1) * d);
      square = static_cast<float>(beta2 * static_cast<double>(square) + (1.0 - beta2) * d * d);
      return static_cast<float>(static_cast<double>(mean) / of_mean /
                                (std::sqrt(static_cast<double>(square) / of_square) + epsilon));
    }
  };
  static constexpr int lowest = -F::code_offset, highest = code_count<F>() - 1 - F::code_offset;

  static void require_valid(const AutoRoundOptions& options) {
    if (options.range.method != RangeMethod::min_max)
      throw ArgumentError("AutoRound shrinks ranges itself: it begins with min-max ranges");
    if (options.iterations < 1)
      throw ArgumentError("AutoRound needs at least one iteration, not " +
                          std::to_string(options.iterations));
    if (options.learning_rate &&
        !(*options.learning_rate > 0.0 && is_finite(*options.learning_rate)))
      throw ArgumentError("the learning rate of AutoRound is " +
                          std::to_string(*options.learning_rate) + ", not finite and positive");
    if (options.range_rate && !(*options.range_rate > 0.0 && is_finite(*options.range_rate)))
      throw ArgumentError("the range rate of AutoRound is " + std::to_string(*options.range_rate) +
                          ", not finite and positive");
    if (!(options.bound >= 0.0 && options.bound <= 1024.0))
      throw ArgumentError("the bound of AutoRound is " + std::to_string(options.bound) +
                          ", outside [0, 1024]");
    if (!(options.least_range > 0.0 && options.least_range <= 1.0))
      throw ArgumentError("the least range of AutoRound is " + std::to_string(options.least_range) +
                          ", outside (0, 1]");
  }
  [[nodiscard]] static QuantizedMatrix<F> nearest(MatrixView<const float> w,
                                                  const AutoRoundOptions& options,
                                                  const Execution& execution) {
    require_valid(options);
    return quantize<F>(w,
                       {.group_size = options.group_size,
                        .scale_type = options.scale_type,
                        .range = options.range},
                       execution);
  }
  template <class T>
  [[nodiscard]] static float sign(T x) noexcept {
    return x > T{} ? 1.0f : x < T{} ? -1.0f : 0.0f;
  }
  [[nodiscard]] std::pair<Index, Index> columns(Index g) const noexcept {
    const Index first = g * today_.group_length();
    return {first, std::min(today_.group_length(), w_.cols() - first)};
  }

  /// From those of scale and zero point: both follow from the range.
  [[nodiscard]] std::pair<double, double> range_gradient(Index i, Index g, double d_scale,
                                                         double d_zero) const {
    const auto lo = static_cast<double>(ranges_(i, g).lo);
    const auto hi = static_cast<double>(ranges_(i, g).hi);
    const double begin = lo * static_cast<double>(lower_(i, g));
    const double end = hi * static_cast<double>(upper_(i, g));
    const double slope = static_cast<double>(slope_);
    if (begin == 0.0 && end == 0.0) return {};
    if constexpr (F::has_zero_point) {
      const auto scale = static_cast<double>(today_.parameters()(i, g).scale);
      const double zero = -begin / scale;  // before rounding, which the gradient passes
      if (zero < 0.0 || zero > static_cast<double>(highest)) d_zero = 0.0;
      const double d_width = (d_scale + d_zero * begin / (scale * scale)) * slope;
      return {lo * (-d_width - d_zero / scale), hi * d_width};
    } else {
      const double d_magnitude = d_scale * slope;
      const bool negative = -begin >= end, positive = end >= -begin;
      return {negative ? -lo * d_magnitude : 0.0, positive ? hi * d_magnitude : 0.0};
    }
  }

  /// What V is added to.
  [[nodiscard]] float level_of(Index i, Index j, float scale) const noexcept {
    return begin_.empty() ? quotient(w_(i, j), scale) : begin_(i, j);
  }

  void set_range(Index i, Index g, float lower, float upper) {
    const Range range{ranges_(i, g).lo * lower, ranges_(i, g).hi * upper};
    const auto p = F::fit(range, detail::fit_options(options_.range, today_.scale_type()));
    if (!is_usable_scale(p.scale)) return;
    lower_(i, g) = lower;
    upper_(i, g) = upper;
    today_.parameters()(i, g) = p;
  }

  void round(Index i) {
    for (Index g = 0; g < today_.groups(); ++g) {
      const auto& p = today_.parameters()(i, g);
      const int zero = F::zero_point(p);
      const auto [first, count] = columns(g);
      for (Index j = first; j < first + count; ++j) {
        const float level = rounded(level_of(i, j, p.scale) + v_(i, j));
        const auto code =
            static_cast<typename F::Code>(round_to_code(level, zero, lowest, highest));
        today_.codes()(i, j) = code;
        values_(i, j) = F::decode(code, p);
      }
    }
  }

  AutoRoundOptions options_;
  double rate_, range_rate_;
  Matrix<float> w_;
  QuantizedMatrix<F> today_, best_;
  Matrix<float> begin_;  ///< codes to go on from, without zero points; else empty
  Matrix<float> v_, lower_, upper_;
  Matrix<Range> ranges_;
  float slope_;  ///< of the scale by the width of a range, or by its largest magnitude
  Matrix<float> dv_;
  Matrix<double> dlower_, dupper_;
  Matrix<Moments> moments_, range_moments_;  ///< of Adam
};

/// Codes that change a layer's output least for inputs of which the second moments are known.
///
/// Shapes    w (rows, n), any strides; a Hessian of n inputs
/// Errors    as AutoRound and LayerOutputError
/// Edge      never worse than the nearest codes
/// Order     independent of the number of threads
template <Format F>
[[nodiscard]] QuantizedMatrix<F> auto_round(MatrixView<const float> w, const Hessian& h,
                                            const AutoRoundOptions& options = {},
                                            const Execution& execution = {},
                                            LearnedRoundingReport* report = nullptr) {
  AutoRound<F> layer(w, options, execution);
  const auto learned = learn_layer(w, h, layer, options.iterations, execution);
  if (report) *report = learned;
  return layer.best();
}

/// The same for inputs x (tokens, n).
template <Format F>
[[nodiscard]] QuantizedMatrix<F> auto_round(MatrixView<const float> w, MatrixView<const float> x,
                                            const AutoRoundOptions& options = {},
                                            const Execution& execution = {},
                                            LearnedRoundingReport* report = nullptr) {
  Hessian h(w.cols());
  h.add(x, execution);
  return auto_round<F>(w, h, options, execution, report);
}

}  // namespace pare
