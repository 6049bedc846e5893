#include "pare/quantization/learned_rounding.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "pare/core/thread_pool.hpp"
#include "pare/formats/all.hpp"
#include "pare/quantization/adaround.hpp"
#include "pare/quantization/autoround.hpp"
#include "pare/quantization/gptq.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"
#include "support/tolerance.hpp"

using namespace pare;

namespace {

/// tr((Q - W) H (Q - W)ᵀ) / 2 and its gradient, in double.
struct PlainOutputError {
  Matrix<double> w, h;

  double operator()(const Matrix<double>& q, Matrix<double>& gradient) const {
    double sum = 0.0;
    for (Index i = 0; i < q.rows(); ++i)
      for (Index j = 0; j < q.cols(); ++j) {
        gradient(i, j) = 0.0;
        for (Index k = 0; k < q.cols(); ++k) gradient(i, j) += (q(i, k) - w(i, k)) * h(k, j);
        sum += 0.5 * gradient(i, j) * (q(i, j) - w(i, j));
      }
    return sum;
  }
};

double half_even(double x) { return std::nearbyint(x); }
double sign_of(double x) { return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : 0.0; }

/// AutoRound as its formulas say, in double, with scales as they are stored.
template <Format F>
struct PlainAutoRound {
  static constexpr double lo = -F::code_offset, hi = code_count<F>() - 1 - F::code_offset;
  Index group;
  ScaleType type;
  double least;
  Matrix<double> w, v, lower, upper, scale, zero, value;

  PlainAutoRound(const Matrix<float>& weight, Index group_length, ScaleType scale_type,
                 double least_range)
      : group(group_length),
        type(scale_type),
        least(least_range),
        w(weight.shape()),
        v(w.shape()),
        lower({w.rows(), ceil_div(w.cols(), group)}),
        upper(lower.shape()),
        scale(lower.shape()),
        zero(lower.shape()),
        value(w.shape()) {
    std::transform(weight.begin(), weight.end(), w.begin(), [](float x) { return double{x}; });
    lower.fill(1.0);
    upper.fill(1.0);
    round();
  }
  [[nodiscard]] Index end(Index g) const { return std::min(w.cols(), (g + 1) * group); }
  [[nodiscard]] double least_of(Index i, Index g) const {
    double x = 0.0;
    for (Index j = g * group; j < end(g); ++j) x = std::min(x, w(i, j));
    return x;
  }
  [[nodiscard]] double most_of(Index i, Index g) const {
    double x = 0.0;
    for (Index j = g * group; j < end(g); ++j) x = std::max(x, w(i, j));
    return x;
  }
  /// The quotient of a scale and what it follows from.
  [[nodiscard]] static double steps() {
    if (F::has_zero_point) return hi;
    return F::code_bits == 8 ? hi : (hi - lo) / 2.0;
  }
  /// w / scale as float32 gives it: the largest weight of a symmetric group lies on a tie.
  [[nodiscard]] double level(Index i, Index j) const {
    return double{quotient(static_cast<float>(w(i, j)), static_cast<float>(scale(i, j / group)))};
  }
  void round() {
    for (Index i = 0; i < w.rows(); ++i)
      for (Index g = 0; g < lower.cols(); ++g) {
        const double a = least_of(i, g) * lower(i, g), b = most_of(i, g) * upper(i, g);
        const double width = F::has_zero_point ? b - a : std::max(-a, b);
        scale(i, g) = double{store_scale(static_cast<float>(width / steps()), type)};
        zero(i, g) = F::has_zero_point ? half_even(-a / scale(i, g)) : 0.0;
        for (Index j = g * group; j < end(g); ++j) {
          const double code = half_even(level(i, j) + v(i, j)) + zero(i, g);
          value(i, j) = scale(i, g) * (std::clamp(code, lo, hi) - zero(i, g));
        }
      }
  }
  void step(const Matrix<double>& gradient, double rate) {
    for (Index i = 0; i < w.rows(); ++i)
      for (Index g = 0; g < lower.cols(); ++g) {
        const double a = least_of(i, g), b = most_of(i, g), s = scale(i, g), z = zero(i, g);
        double ds = 0.0, dz = 0.0;
        for (Index j = g * group; j < end(g); ++j) {
          const double code = half_even(level(i, j) + v(i, j)) + z, d = gradient(i, j);
          if (code >= lo && code <= hi) {
            ds += d * (code - z - w(i, j) / s);
            v(i, j) = std::clamp(v(i, j) - rate * sign_of(d), -0.5, 0.5);
          } else {
            ds += d * (std::clamp(code, lo, hi) - z);
            dz -= d * s;
          }
        }
        double da = 0.0, db = 0.0;
        if (F::has_zero_point) {
          ds += dz * a * lower(i, g) / (s * s);
          da = a * (-ds / steps() - dz / s);
          db = b * ds / steps();
        } else {
          (-a * lower(i, g) > b * upper(i, g) ? da : db) = ds;
          da *= -a / steps();
          db *= b / steps();
        }
        lower(i, g) = std::clamp(lower(i, g) - rate * sign_of(da), least, 1.0);
        upper(i, g) = std::clamp(upper(i, g) - rate * sign_of(db), least, 1.0);
      }
    round();
  }
};

Hessian correlated_inputs(Index n, std::uint64_t seed) {
  Matrix<float> x = test::random_matrix(200, n, seed);
  for (Index t = 0; t < x.rows(); ++t)
    for (Index j = 1; j < n; ++j) x(t, j) = 0.6f * x(t, j - 1) + 0.8f * x(t, j);
  Hessian h(n);
  h.add(x);
  return h;
}

Matrix<double> plain(MatrixView<const float> m) {
  Matrix<double> d(m.shape());
  for (Index i = 0; i < m.rows(); ++i)
    for (Index j = 0; j < m.cols(); ++j) d(i, j) = double{m(i, j)};
  return d;
}

double worst(MatrixView<const float> a, const Matrix<double>& b) {
  double largest = 0.0;
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < a.cols(); ++j)
      largest = std::max(largest, std::fabs(double{a(i, j)} - b(i, j)));
  return largest;
}

template <class F>
void follow_the_formulas(Index group, ScaleType type, Index iterations) {
  CAPTURE(F::name, group);
  const Matrix<float> w = test::random_matrix(6, 23, 11, 0.3f);
  const Hessian h = correlated_inputs(23, 12);
  const PlainOutputError error{plain(w), h.matrix()};
  const LayerOutputError own_error(w, h);
  const AutoRoundOptions options{.group_size = group,
                                 .scale_type = type,
                                 .iterations = iterations,
                                 .learning_rate = 0.03,
                                 .least_range = 0.8};
  AutoRound<F> layer(w, options);
  PlainAutoRound<F> reference(w, group == -1 ? 23 : group, type, 0.8);
  for (Index t = 0; t < iterations; ++t) {
    CAPTURE(t);
    Matrix<float> gradient(w.shape());
    Matrix<double> wanted(w.shape());
    const double loss = own_error(layer.values(), gradient);
    CHECK(loss == Approx(error(reference.value, wanted)).epsilon(1e-4));
    layer.step(gradient, t, {});
    reference.step(wanted, 0.03 * (1.0 - static_cast<double>(t) / static_cast<double>(iterations)));
    REQUIRE(worst(layer.values(), reference.value) < 1e-5);
    CHECK(worst(layer.rounding(), reference.v) < 1e-5);
    CHECK(worst(layer.lower(), reference.lower) < 1e-5);
    CHECK(worst(layer.upper(), reference.upper) < 1e-5);
  }
}

/// Calls f(TypeTag<F>) for the integer formats.
template <class Use>
void for_each_integer_format(const Use& use) {
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F> tag) {
    if constexpr (F::is_integer) use(tag);
  });
}

double error_of(MatrixView<const float> w, const Hessian& h, MatrixView<const float> q) {
  Matrix<float> gradient(w.shape());
  return LayerOutputError(w, h)(q, gradient);
}

}  // namespace

TEST_CASE("AutoRound takes the steps that its formulas say", "[quantization]") {
  follow_the_formulas<UInt<2>>(8, ScaleType::f16, 12);
  follow_the_formulas<UInt<3>>(5, ScaleType::f32, 12);
  follow_the_formulas<UInt<4>>(-1, ScaleType::f32, 12);
  follow_the_formulas<Int<2>>(7, ScaleType::f32, 12);
  follow_the_formulas<Int<4>>(-1, ScaleType::f16, 12);
  follow_the_formulas<Int<8>>(16, ScaleType::f32, 12);
}

// With what rounding adds held still, a value is a smooth function of V and of the range.
TEST_CASE("gradients of AutoRound are those of frozen rounding", "[quantization]") {
  const auto check = []<class F>(TypeTag<F>) {
    CAPTURE(F::name);
    const Matrix<float> w = test::random_matrix(3, 14, 5);
    const Matrix<float> upstream = test::random_matrix(3, 14, 6);
    AutoRound<F> layer(
        w,
        {.group_size = 7, .scale_type = ScaleType::f32, .iterations = 10, .learning_rate = 0.04});
    // Away from where it begins, so that some weights clip.
    for (Index t = 0; t < 8; ++t)
      layer.step(test::random_matrix(3, 14, 20 + static_cast<std::uint64_t>(t)), t, {});
    Matrix<float> d_v(w.shape());
    Matrix<double> d_lower({3, 2}), d_upper({3, 2});
    layer.backward(upstream, d_v, d_lower, d_upper);

    const PlainAutoRound<F> shape(w, 7, ScaleType::f32, 0.5);
    Index clipped = 0;
    const double steps = PlainAutoRound<F>::steps();
    for (Index i = 0; i < 3; ++i)
      for (Index g = 0; g < 2; ++g) {
        const double a = shape.least_of(i, g), b = shape.most_of(i, g);
        const auto scale_of = [&](double lower, double upper) {
          return (F::has_zero_point ? b * upper - a * lower : std::max(-a * lower, b * upper)) /
                 steps;
        };
        const double lower = double{layer.lower()(i, g)}, upper = double{layer.upper()(i, g)};
        const double s0 = scale_of(lower, upper);
        const double z0 = F::has_zero_point ? -a * lower / s0 : 0.0;
        const double zero_rest = half_even(z0) - z0;
        const auto group = [&](double lower_now, double upper_now, Index moved, double by) {
          const double s = scale_of(lower_now, upper_now);
          const double z = (F::has_zero_point ? -a * lower_now / s : 0.0) + zero_rest;
          double sum = 0.0;
          for (Index j = 7 * g; j < 7 * g + 7; ++j) {
            const double v = double{layer.rounding()(i, j)};
            const double level = double{w(i, j)} / s0 + v;
            const double code = half_even(level) + half_even(z0);
            const bool inside = code >= shape.lo && code <= shape.hi;
            const double now =
                double{w(i, j)} / s + v + (j == moved ? by : 0.0) + (half_even(level) - level);
            const double value = inside ? s * now : s * (std::clamp(code, shape.lo, shape.hi) - z);
            sum += double{upstream(i, j)} * value;
          }
          return sum;
        };
        constexpr double step = 1e-5;
        const auto slope = [&](double by_lower, double by_upper, Index moved, double by) {
          return (group(lower + by_lower, upper + by_upper, moved, by) -
                  group(lower - by_lower, upper - by_upper, moved, -by)) /
                 (2.0 * step);
        };
        CHECK(d_lower(i, g) == Approx(slope(step, 0.0, -1, 0.0)).epsilon(1e-4).margin(1e-4));
        CHECK(d_upper(i, g) == Approx(slope(0.0, step, -1, 0.0)).epsilon(1e-4).margin(1e-4));
        for (Index j = 7 * g; j < 7 * g + 7; ++j) {
          clipped += d_v(i, j) == 0.0f ? 1 : 0;
          CHECK(double{d_v(i, j)} == Approx(slope(0.0, 0.0, j, step)).epsilon(1e-4).margin(1e-6));
        }
      }
    CHECK(clipped > 0);
  };
  check(TypeTag<UInt<2>>{});
  check(TypeTag<UInt<4>>{});
  check(TypeTag<Int<3>>{});
}

TEST_CASE("AdaRound takes the steps that its formulas say", "[quantization]") {
  const Matrix<float> w = test::random_matrix(4, 12, 31, 0.3f);
  const Hessian h = correlated_inputs(12, 32);
  const LayerOutputError error(w, h);
  const PlainOutputError plain_error{plain(w), h.matrix()};
  constexpr Index iterations = 10;
  using F = UInt<3>;
  AdaRound<F> layer(w, {.quantize = {.group_size = 6, .scale_type = ScaleType::f32},
                        .iterations = iterations,
                        .learning_rate = 0.1});
  const auto nearest = quantize<F>(w, {.group_size = 6, .scale_type = ScaleType::f32});
  CHECK(test::bit_differences(layer.values(), dequantize(nearest)) == 0);
  layer.soften({});
  // What is inside the codes begins as it was.
  for (Index i = 0; i < 4; ++i)
    for (Index j = 0; j < 12; ++j)
      CHECK(std::fabs(layer.values()(i, j) - w(i, j)) <
            0.5f * nearest.parameters()(i, j / 6).scale + 1e-5f);

  Matrix<double> v(w.shape()), mean(w.shape()), square(w.shape()), value(w.shape());
  for (Index i = 0; i < 4; ++i)
    for (Index j = 0; j < 12; ++j) v(i, j) = double{layer.rounding()(i, j)};
  const auto up = [](double x) { return std::clamp(1.2 / (1.0 + std::exp(-x)) - 0.1, 0.0, 1.0); };
  const auto code = [&](Index i, Index j, double x) {
    const auto& p = nearest.parameters()(i, j / 6);
    return std::clamp(std::floor(double{w(i, j)} / double{p.scale}) + up(x) + p.zero_point, 0.0,
                      7.0) -
           p.zero_point;
  };
  for (Index t = 0; t < iterations; ++t) {
    CAPTURE(t);
    Matrix<float> gradient(w.shape()), d_v(w.shape());
    Matrix<double> wanted(w.shape());
    for (Index i = 0; i < 4; ++i)
      for (Index j = 0; j < 12; ++j)
        value(i, j) = double{nearest.parameters()(i, j / 6).scale} * code(i, j, v(i, j));
    REQUIRE(worst(layer.values(), value) < 1e-5);
    CHECK(error(layer.values(), gradient) ==
          Approx(plain_error(value, wanted)).epsilon(1e-3).margin(1e-6));
    // The same gradient for both: Adam divides it by its size, which may be next to nothing.
    layer.backward(gradient, d_v);
    const std::optional<double> beta = layer.beta(t);
    CHECK(beta.has_value() == (t >= 2));
    if (t == 2) CHECK(*beta == Approx(20.0));
    for (Index i = 0; i < 4; ++i)
      for (Index j = 0; j < 12; ++j) {
        const double s = double{nearest.parameters()(i, j / 6).scale};
        constexpr double step = 1e-6;
        const double slope =
            (code(i, j, v(i, j) + step) - code(i, j, v(i, j) - step)) / (2.0 * step) * s;
        double d = double{gradient(i, j)} * slope;
        CHECK(double{d_v(i, j)} == Approx(d).epsilon(1e-3).margin(1e-5));
        if (beta) {
          const auto far = [&](double x) {
            return 1.0 - std::pow(std::fabs(2.0 * up(x) - 1.0), *beta);
          };
          d += 0.01 * (far(v(i, j) + step) - far(v(i, j) - step)) / (2.0 * step);
        }
        mean(i, j) = 0.9 * mean(i, j) + 0.1 * d;
        square(i, j) = 0.999 * square(i, j) + 0.001 * d * d;
        const auto n = static_cast<double>(t + 1);
        v(i, j) -= 0.1 * mean(i, j) / (1.0 - std::pow(0.9, n)) /
                   (std::sqrt(square(i, j) / (1.0 - std::pow(0.999, n))) + 1e-8);
      }
    layer.step(gradient, t, {});
    // Where the gradient is next to nothing its last bits decide.
    Index apart = 0;
    for (Index k = 0; k < v.size(); ++k) {
      const double own = double{layer.rounding().data()[k]};
      if (std::fabs(own - v.data()[k]) > 1e-3) ++apart;
      v.data()[k] = own;
    }
    CHECK(apart <= 1);
  }
  layer.harden({});
  for (Index i = 0; i < 4; ++i)
    for (Index j = 0; j < 12; ++j)
      CHECK(double{layer.values()(i, j)} == Approx(double{nearest.parameters()(i, j / 6).scale} *
                                                   code(i, j, v(i, j) >= 0.0 ? 1e3 : -1e3))
                                                .margin(1e-6));
}

TEST_CASE("learned rounding of any integer format is no worse than nearest", "[quantization]") {
  const Matrix<float> w = test::random_matrix(9, 37, 3, 0.2f);
  const Hessian h = correlated_inputs(37, 4);
  ThreadPool pool(3);
  const Execution threads{.parallel_for = pool};
  for_each_integer_format([&]<class F>(TypeTag<F>) {
    CAPTURE(F::name);
    for (const Index group : {Index{-1}, Index{16}}) {
      CAPTURE(group);
      const double nearest = error_of(w, h, dequantize(quantize<F>(w, {.group_size = group})));
      LearnedRoundingReport report;
      const auto check = [&](const QuantizedMatrix<F>& q, double share) {
        CHECK(report.first_loss == nearest);
        CHECK(report.best_loss <= share * nearest);
        // What is kept is what was evaluated.
        CHECK(error_of(w, h, dequantize(q)) == report.best_loss);
        CHECK(q.group_size() == group);
        CHECK(q.scale_type() == default_scale_type<F>(group));
      };
      const AutoRoundOptions automatic{
          .group_size = group, .iterations = 60, .learning_rate = 2e-3};
      const auto learned = auto_round<F>(w, h, automatic, {}, &report);
      check(learned, 1.0);
      if (F::code_bits <= 4) CHECK(report.best_loss < nearest);
      CHECK(auto_round<F>(w, h, automatic, threads) == learned);

      const AdaRoundOptions adaptive{.quantize = {.group_size = group}, .iterations = 60};
      const auto adapted = ada_round<F>(w, h, adaptive, {}, &report);
      check(adapted, 1.0);
      CHECK(ada_round<F>(w, h, adaptive, threads) == adapted);
    }
  });
}

TEST_CASE("what is learned beats nearest codes where inputs are few", "[quantization]") {
  const Matrix<float> w = test::random_matrix(16, 32, 7, 0.2f);
  const Matrix<float> x = test::random_matrix(40, 32, 8);
  LearnedRoundingReport report;
  (void)ada_round<UInt<4>>(w, x, {.quantize = {.group_size = 16}, .iterations = 1000}, {}, &report);
  CHECK(report.best_iteration == 1000);
  CHECK(report.best_loss < 0.7 * report.first_loss);
  for (const AutoRoundSteps steps : {AutoRoundSteps::sign, AutoRoundSteps::adam}) {
    (void)auto_round<UInt<4>>(w, x, {.group_size = 16, .learning_rate = 1e-3, .steps = steps}, {},
                              &report);
    CHECK(report.best_loss < report.first_loss);
  }
}

TEST_CASE("AutoRound goes on from other codes", "[quantization]") {
  const Matrix<float> w = test::random_matrix(16, 48, 41, 0.2f);
  const Hessian h = correlated_inputs(48, 42);
  const auto begin =
      gptq<UInt<3>>(w, h, {.group_size = 16, .act_order = true, .static_groups = true});
  AutoRound<UInt<3>> layer(w, begin, {.group_size = 16});
  CHECK(test::bit_differences(layer.values(), dequantize(begin)) == 0);
  CHECK(layer.best() == begin);
  const auto report = learn_layer(w, h, layer, 200);
  CHECK(report.first_loss == error_of(w, h, dequantize(begin)));
  CHECK(report.best_loss < report.first_loss);
  // Codes stay while ranges are learned, straight down the slope.
  AutoRound<UInt<3>> ranges(w, begin, {.group_size = 16, .range_rate = 1e-4, .bound = 0.0});
  double last = report.first_loss;
  for (Index t = 0; t < 20; ++t) {
    Matrix<float> gradient(w.shape());
    const double now = LayerOutputError(w, h)(ranges.values(), gradient);
    CHECK(now <= last);
    last = now;
    ranges.step(gradient, t, {});
  }
  CHECK(last < report.first_loss);
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j)
      CHECK(ranges.today().code(i, j) - ranges.today().parameters()(i, j / 16).zero_point ==
            begin.code(i, j) - begin.parameters()(i, j / 16).zero_point);
  // With no way to go nothing changes.
  AutoRound<UInt<3>> still(w, begin, {.group_size = 16, .bound = 0.0, .least_range = 1.0});
  (void)learn_layer(w, h, still, 20);
  CHECK(still.today() == begin);
}

TEST_CASE("layers learn together from a gradient of what comes behind them", "[quantization]") {
  const Matrix<float> a = test::random_matrix(12, 20, 51, 0.3f);
  const Matrix<float> b = test::random_matrix(5, 12, 52, 0.3f);
  const Matrix<float> x = test::random_matrix(64, 20, 53);
  const auto outputs = [&](MatrixView<const float> first, MatrixView<const float> second,
                           Matrix<float>& middle) {
    middle = Matrix<float>({64, 12});
    gemm(1.0f, x, first.transposed(), middle);
    Matrix<float> y({64, 5});
    gemm(1.0f, middle, second.transposed(), y);
    return y;
  };
  Matrix<float> middle;
  const Matrix<float> wanted = outputs(a, b, middle);
  std::vector<Index> asked;
  const auto loss = [&](Index iteration, std::span<const MatrixView<const float>> weights,
                        std::span<const MatrixView<float>> gradients) {
    asked.push_back(iteration);
    Matrix<float> dy = outputs(weights[0], weights[1], middle), d_middle({64, 12});
    double sum = 0.0;
    for (Index k = 0; k < dy.size(); ++k) {
      dy.data()[k] -= wanted.data()[k];
      sum += double{dy.data()[k]} * double{dy.data()[k]};
    }
    gemm(2.0f, dy.view().transposed(), middle, gradients[1]);
    gemm(2.0f, dy, weights[1], d_middle);
    gemm(1.0f, d_middle.view().transposed(), x, gradients[0]);
    return sum;
  };
  AutoRound<Int<3>> first(a, {.group_size = 10, .iterations = 100});
  AutoRound<UInt<2>> second(b, {.iterations = 100});
  LearnedRounding* const both[] = {&first, &second};
  const auto report = learn_rounding(both, 100, loss);
  CHECK(report.best_loss < 0.6 * report.first_loss);
  CHECK(asked.size() == 100);
  const Matrix<float> q = outputs(dequantize(first.best()), dequantize(second.best()), middle);
  double sum = 0.0;
  for (Index k = 0; k < q.size(); ++k) {
    const double d = double{q.data()[k] - wanted.data()[k]};
    sum += d * d;
  }
  CHECK(sum == Approx(report.best_loss).epsilon(1e-12));

  asked.clear();
  AdaRound<UInt<4>> soft(a, {.iterations = 3});
  AutoRound<UInt<2>> hard(b, {.iterations = 3});
  LearnedRounding* const mixed[] = {&soft, &hard};
  (void)learn_rounding(mixed, 3, loss);
  CHECK(asked == std::vector<Index>{3, 0, 1, 2, 3});
}

TEST_CASE("a range is not shrunk beyond what its scale can store", "[quantization]") {
  // Scales at the smallest number of F16: half of it would be 0.
  Matrix<float> w = test::random_matrix(2, 8, 61);
  for (float& x : w) x = std::clamp(x, -1.0f, 1.0f) * 0x1p-23f;
  AutoRound<Int<4>> layer(w, {.group_size = 4,
                              .scale_type = ScaleType::f16,
                              .range = {.underflow = ScaleUnderflow::smallest},
                              .iterations = 4,
                              .learning_rate = 0.4});
  for (Index t = 0; t < 4; ++t) layer.step(w, t, {});
  for (Index i = 0; i < 2; ++i)
    for (Index g = 0; g < 2; ++g) CHECK(is_usable_scale(layer.today().parameters()(i, g).scale));
  const Matrix<float> zeros({2, 8});
  CHECK(test::bit_differences(dequantize(auto_round<UInt<4>>(zeros, test::random_matrix(9, 8, 62))),
                              zeros) == 0);
}

TEST_CASE("learned rounding refuses what it cannot learn", "[quantization]") {
  const Matrix<float> w = test::random_matrix(4, 8, 1);
  const Matrix<float> x = test::random_matrix(16, 8, 2);
  const auto automatic = [&](const AutoRoundOptions& options) {
    (void)auto_round<UInt<4>>(w, x, options);
  };
  CHECK_THROWS_AS(automatic({.iterations = 0}), ArgumentError);
  CHECK_THROWS_AS(automatic({.learning_rate = 0.0}), ArgumentError);
  CHECK_THROWS_AS(automatic({.learning_rate = std::nan("")}), ArgumentError);
  CHECK_THROWS_AS(automatic({.range_rate = -1.0}), ArgumentError);
  CHECK_THROWS_AS(automatic({.bound = -1.0}), ArgumentError);
  CHECK_THROWS_AS(automatic({.least_range = 0.0}), ArgumentError);
  CHECK_THROWS_AS(automatic({.least_range = 1.5}), ArgumentError);
  CHECK_THROWS_AS(automatic({.group_size = 9}), ArgumentError);
  CHECK_THROWS_AS(automatic({.range = {.method = RangeMethod::mse_clip}}), ArgumentError);
  const auto adaptive = [&](const AdaRoundOptions& options) {
    (void)ada_round<UInt<4>>(w, x, options);
  };
  CHECK_THROWS_AS(adaptive({.iterations = 0}), ArgumentError);
  CHECK_THROWS_AS(adaptive({.learning_rate = -1.0}), ArgumentError);
  CHECK_THROWS_AS(adaptive({.regularization = -1.0}), ArgumentError);
  CHECK_THROWS_AS(adaptive({.warm_start = 1.0}), ArgumentError);
  CHECK_THROWS_AS(adaptive({.last_beta = 0.5}), ArgumentError);
  CHECK_THROWS_AS(adaptive({.quantize = {.blocks = BlockShape::tiles(2, 4)}}), ArgumentError);

  Matrix<float> bad(w);
  bad(1, 2) = std::nanf("");
  CHECK_THROWS_AS(auto_round<Int<4>>(bad, x), NumericError);
  CHECK_THROWS_AS(ada_round<Int<4>>(bad, x), NumericError);
  CHECK_THROWS_AS(auto_round<Int<4>>(w, Hessian(7)), ShapeError);
  CHECK_THROWS_AS(auto_round<Int<4>>(w, Hessian(8)), ArgumentError);
  const auto codes = quantize<Int<4>>(w, {.group_size = 4});
  CHECK_THROWS_AS((AutoRound<Int<4>>(w, codes, {.group_size = 8})), ArgumentError);
  CHECK_THROWS_AS((AutoRound<Int<4>>(x, codes, {.group_size = 4})), ShapeError);

  AutoRound<Int<4>> layer(w);
  Matrix<float> misfit({4, 7});
  CHECK_THROWS_AS(layer.step(misfit, 0, {}), ShapeError);
  LearnedRounding* const layers[] = {&layer};
  const auto loss = [&](Index iteration, std::span<const MatrixView<const float>>,
                        std::span<const MatrixView<float>> gradients) {
    gradients[0](0, 0) = iteration == 1 ? std::nanf("") : 0.0f;
    return iteration == 3 ? std::nan("") : 1.0;
  };
  CHECK_THROWS_AS(learn_rounding({}, 3, loss), ArgumentError);
  CHECK_THROWS_AS(learn_rounding(layers, 0, loss), ArgumentError);
  CHECK_THROWS_WITH(learn_rounding(layers, 5, loss), ContainsSubstring("iteration 1"));
  const auto nan_loss = [&](Index iteration, auto, auto) {
    return iteration == 3 ? std::nan("") : 1.0;
  };
  CHECK_THROWS_WITH(learn_rounding(layers, 5, nan_loss), ContainsSubstring("iteration 3"));
}
