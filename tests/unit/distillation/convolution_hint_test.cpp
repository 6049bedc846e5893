#include <algorithm>
#include <cmath>
#include <string>

#include "pare/distillation/convolution_hint.hpp"
#include "pare/distillation/hint.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::central_differences;
using test::error_of_largest;

namespace {

template <std::size_t Rank>
Tensor<double, Rank> hint_values(Shape<Rank> shape, std::uint64_t seed) {
  Tensor<double, Rank> t(shape);
  const Matrix<float> values = test::random_matrix(1, t.size(), seed);
  std::copy(values.begin(), values.end(), t.begin());
  return t;
}

/// What a convolution is: a sum over channels and the kernel, nothing outside of the maps.
Tensor<double, 4> convolved(const Tensor<double, 4>& maps, const Tensor<double, 4>& weight,
                            const Vector<double>& bias, Index stride, Index padding) {
  const auto out = [&](std::size_t d) {
    return (maps.extent(d) + 2 * padding - weight.extent(d)) / stride + 1;
  };
  Tensor<double, 4> y({maps.extent(0), weight.extent(0), out(2), out(3)});
  for (Index b = 0; b < y.extent(0); ++b)
    for (Index o = 0; o < y.extent(1); ++o)
      for (Index i = 0; i < y.extent(2); ++i)
        for (Index j = 0; j < y.extent(3); ++j) {
          y(b, o, i, j) = bias[o];
          for (Index c = 0; c < maps.extent(1); ++c)
            for (Index u = 0; u < weight.extent(2); ++u)
              for (Index v = 0; v < weight.extent(3); ++v) {
                const Index row = i * stride + u - padding, col = j * stride + v - padding;
                if (row < 0 || col < 0 || row >= maps.extent(2) || col >= maps.extent(3)) continue;
                y(b, o, i, j) += weight(o, c, u, v) * maps(b, c, row, col);
              }
        }
  return y;
}

}  // namespace

TEMPLATE_TEST_CASE("hints through convolutions of one position are the reference's", "", float,
                   double) {
  using T = TestType;
  const test::DistillationOracle oracle;
  for (const char* name : {"fitnets.linear_regressor", "fitnets.conv_bn_relu_regressor"}) {
    CAPTURE(name);
    const bool is_full = std::string(name).find("conv") != std::string::npos;
    const auto s = oracle.input<T, 4>(name, "fs"), t = oracle.input<T, 4>(name, "ft");
    const auto weight = oracle.input<T>(name, "weight");
    const auto of = [&](const char* argument) {
      return is_full ? oracle.input<T, 1>(name, argument) : Vector<T>();
    };
    const Vector<T> bias = of("bias"), gamma = of("gamma"), beta = of("beta");
    Tensor<T, 4> gradient(s.shape());
    Matrix<T> dw(weight.shape());
    Vector<T> dgamma(gamma.shape());
    const double tolerance = oracle.tolerance<T>(name);
    CHECK(convolution_hint_loss<T>(
              s, t, {.weight = weight, .bias = bias, .gamma = gamma, .beta = beta, .relu = is_full},
              {}, gradient,
              {.weight = dw, .gamma = dgamma}) == Approx(oracle.loss(name)).epsilon(tolerance));
    CHECK(error_of_largest(gradient, oracle.gradient<4>(name, "fs")) <= tolerance);
    CHECK(error_of_largest(dw, oracle.gradient(name, "weight")) <= tolerance);
    if (is_full) CHECK(error_of_largest(dgamma, oracle.gradient<1>(name, "gamma")) <= tolerance);
  }
}

TEST_CASE("hints through convolutions agree with sums over the kernel and central differences") {
  struct Case {
    Shape<4> maps, weight;
    Index stride, padding;
  };
  for (const Case& c :
       {Case{{2, 3, 6, 8}, {2, 3, 3, 3}, 2, 1}, Case{{1, 2, 5, 4}, {3, 2, 2, 3}, 1, 0},
        Case{{2, 1, 3, 3}, {2, 1, 3, 3}, 3, 2}, Case{{1, 2, 4, 5}, {2, 2, 4, 1}, 1, 0}}) {
    CAPTURE(c.maps, c.weight, c.stride, c.padding);
    const auto maps = hint_values(c.maps, 1);
    const auto kernel = hint_values(c.weight, 2);
    const Index outputs = c.weight[0];
    Matrix<double> weight({outputs, kernel.size() / outputs});
    std::copy(kernel.begin(), kernel.end(), weight.begin());
    const auto bias = hint_values<1>({outputs}, 3), gamma = hint_values<1>({outputs}, 4),
               beta = hint_values<1>({outputs}, 5);
    const ConvolutionHintOptions options{
        .convolution = {{c.weight[2], c.weight[3]}, c.stride, c.padding},
        .common = {.weight = 3.0}};
    const Tensor<double, 4> y = convolved(maps, kernel, bias, c.stride, c.padding);
    const auto wanted = hint_values(y.shape(), 6);
    double expected = 0.0;
    for (Index i = 0; i < y.size(); ++i)
      expected += 3.0 * std::pow(y.data()[i] - wanted.data()[i], 2) / static_cast<double>(y.size());
    CHECK(convolution_hint_loss<double>(maps, wanted, {.weight = weight, .bias = bias}, options) ==
          Approx(expected).epsilon(1e-12));

    const auto loss = [&](const Tensor<double, 4>& x, const Matrix<double>& w,
                          const Vector<double>& b, const Vector<double>& g) {
      return convolution_hint_loss<double>(
          x, wanted, {.weight = w, .bias = b, .gamma = g, .beta = beta, .relu = true}, options);
    };
    Tensor<double, 4> dmaps(maps.shape());
    Matrix<double> dweight(weight.shape());
    Vector<double> dbias({outputs}), dgamma({outputs}), dbeta({outputs});
    (void)convolution_hint_loss<double>(
        maps, wanted, {.weight = weight, .bias = bias, .gamma = gamma, .beta = beta, .relu = true},
        options, dmaps, {.weight = dweight, .bias = dbias, .gamma = dgamma, .beta = dbeta});
    const auto of = [&](const auto& f, const auto& at) { return central_differences(f, at); };
    CHECK(error_of_largest(dmaps, of([&](const auto& x) { return loss(x, weight, bias, gamma); },
                                     maps)) <= 1e-6);
    CHECK(error_of_largest(dweight, of([&](const auto& w) { return loss(maps, w, bias, gamma); },
                                       weight)) <= 1e-6);
    CHECK(error_of_largest(dgamma, of([&](const auto& g) { return loss(maps, weight, bias, g); },
                                      gamma)) <= 1e-6);
    Vector<double> plain({outputs});
    (void)convolution_hint_loss<double>(maps, wanted, {.weight = weight, .bias = bias}, options, {},
                                        {.bias = plain});
    CHECK(error_of_largest(plain, of(
                                      [&](const auto& b) {
                                        return convolution_hint_loss<double>(
                                            maps, wanted, {.weight = weight, .bias = b}, options);
                                      },
                                      bias)) <= 1e-6);
  }
}

TEST_CASE("hints leave padding out, of a regressor's norm too") {
  const auto s = hint_values<2>({6, 4}, 1), t = hint_values<2>({6, 3}, 2),
             w = hint_values<2>({3, 4}, 3);
  const auto gamma = hint_values<1>({3}, 4), beta = hint_values<1>({3}, 5);
  const Regressor<double> regressor{.weight = w, .gamma = gamma, .beta = beta, .relu = true};
  Matrix<double> few_s({4, 4}), few_t({4, 3});
  const Index rows[] = {0, 1, 3, 5};
  for (Index i = 0; i < 4; ++i) {
    copy(s.row(rows[i]), few_s.row(i));
    copy(t.row(rows[i]), few_t.row(i));
  }
  auto padded_s = s;
  auto padded_t = t;
  padded_s(2, 1) = padded_t(4, 0) = std::nan("");
  const std::vector<double> weights{1, 1, 0, 1, 0, 1};
  Matrix<double> gradient(s.shape()), few_gradient(few_s.shape()), dw(w.shape()), few_dw(w.shape());
  gradient.fill(7.0);
  CHECK(hint_loss<double>(padded_s, padded_t, regressor, {.sample_weights = weights}, gradient,
                          {.weight = dw}) ==
        hint_loss<double>(few_s, few_t, regressor, {}, few_gradient, {.weight = few_dw}));
  CHECK(dw == few_dw);
  for (Index j = 0; j < 4; ++j) {
    CHECK(gradient(2, j) == 0.0);
    CHECK(gradient(4, j) == 0.0);
    for (Index i = 0; i < 4; ++i) CHECK(gradient(rows[i], j) == few_gradient(i, j));
  }
  const std::vector<double> uneven{1, 0.5, 2, 0, 1, 3};
  const SampleOptions options{.weight = 2.0, .sample_weights = uneven, .divisor = 5.0};
  (void)hint_loss<double>(s, t, regressor, options, gradient);
  CHECK(error_of_largest(gradient, central_differences(
                                       [&](const Matrix<double>& x) {
                                         return hint_loss<double>(x, t, regressor, options);
                                       },
                                       s)) <= 1e-6);
  const std::vector<double> none(6, 0.0);
  CHECK(hint_loss<double>(s, t, regressor, {.sample_weights = none}, gradient) == 0.0);
  for (const double g : gradient) CHECK(g == 0.0);
}
