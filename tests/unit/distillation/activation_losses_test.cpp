#include <cmath>
#include <functional>
#include <vector>

#include "pare/distillation/activation_boundary.hpp"
#include "pare/distillation/attention_transfer.hpp"
#include "pare/distillation/convolution_hint.hpp"
#include "pare/distillation/overhaul.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"

// Losses of activations before a ReLU, of factors, and hints through a strided convolution, against
// PyTorch 2.15's autograd in double on the authors' formulas. Inputs are sines, so that nothing
// needs to be stored.

using namespace pare;
using test::central_differences;
using test::error_of_largest;

namespace {

template <class T, std::size_t Rank>
Tensor<T, Rank> sines(Shape<Rank> shape, double phase, double scale = 1.5) {
  Tensor<T, Rank> t(shape);
  for (Index k = 0; k < t.size(); ++k)
    t.data()[k] = static_cast<T>(scale * std::sin(1.7 * static_cast<double>(k) + phase));
  return t;
}

/// One number that all elements of a gradient are in.
template <class T, std::size_t Rank>
double cosine_sum(const Tensor<T, Rank>& t) {
  double sum = 0.0;
  for (Index k = 0; k < t.size(); ++k)
    sum += static_cast<double>(t.data()[k]) * std::cos(0.3 * static_cast<double>(k));
  return sum;
}

const std::vector<double> gammas{0.5, -1.0, 0.2}, betas{0.1, -0.4, 0.9};

}  // namespace

TEMPLATE_TEST_CASE("losses of activations and factors are PyTorch's", "", float, double) {
  using T = TestType;
  const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-12;
  {
    const auto s = sines<T, 2>({6, 5}, 1), t = sines<T, 2>({6, 5}, 2);
    Matrix<T> gradient(s.shape());
    CHECK(activation_boundary_loss<T>(s, t, {.margin = 0.7}, gradient) ==
          Approx(3.55043361603125).epsilon(tolerance));
    CHECK(cosine_sum(gradient) == Approx(0.293039464881886).epsilon(tolerance));
  }
  {
    const auto s = sines<T, 4>({2, 3, 6, 4}, 3), t = sines<T, 4>({2, 5, 3, 2}, 4);
    Tensor<T, 4> gradient(s.shape());
    CHECK(factor_transfer_loss<T>(s, t, {}, gradient) ==
          Approx(0.211726605414682).epsilon(tolerance));
    CHECK(cosine_sum(gradient) == Approx(0.010018277963294).epsilon(10 * tolerance));
  }
  {
    const auto s = sines<T, 4>({2, 3, 3, 2}, 5), t = sines<T, 4>({2, 3, 6, 4}, 6);
    const Vector<double> margins = overhaul_margins<double>(gammas, betas);
    Tensor<T, 4> gradient(s.shape());
    CHECK(overhaul_loss<T>(s, t, margins, {}, gradient) ==
          Approx(25.6243584250972).epsilon(tolerance));
    CHECK(cosine_sum(gradient) == Approx(-0.93521121096384).epsilon(tolerance));
  }
  {
    const auto s = sines<T, 4>({2, 3, 6, 8}, 7), t = sines<T, 4>({2, 4, 3, 4}, 8);
    const auto w = sines<T, 2>({4, 27}, 9, 0.4);
    const auto bias = sines<T, 1>({4}, 10), gamma = sines<T, 1>({4}, 11),
               beta = sines<T, 1>({4}, 12);
    Tensor<T, 4> gradient(s.shape());
    Matrix<T> dw(w.shape());
    Vector<T> dgamma({4}), dbeta({4});
    CHECK(convolution_hint_loss<T>(
              s, t, {.weight = w, .bias = bias, .gamma = gamma, .beta = beta, .relu = true},
              {.convolution = {.kernel = {3, 3}, .stride = 2, .padding = 1}}, gradient,
              {.weight = dw, .gamma = dgamma, .beta = dbeta}) ==
          Approx(2.15320568140405).epsilon(tolerance));
    CHECK(cosine_sum(gradient) == Approx(-0.244179828568179).epsilon(10 * tolerance));
    CHECK(cosine_sum(dw) == Approx(-0.424068825522417).epsilon(10 * tolerance));
    CHECK(cosine_sum(dgamma) == Approx(0.418498446337762).epsilon(10 * tolerance));
    CHECK(cosine_sum(dbeta) == Approx(1.28275436654031).epsilon(10 * tolerance));
  }
}

TEST_CASE("margins are means of what is below zero") {
  const Vector<double> margins = overhaul_margins<double>(gammas, betas);
  CHECK(margins[0] == Approx(-0.364707924042821).epsilon(1e-12));
  CHECK(margins[1] == Approx(-0.961882703796963).epsilon(1e-12));
  CHECK(margins[2] == Approx(-0.6).epsilon(1e-12));  // next to nothing is below
  const std::vector<double> none{0, 0}, constant{-0.5, 0.5};
  const Vector<double> constants = overhaul_margins<double>(none, constant);
  CHECK(constants[0] == -0.5);
  CHECK(constants[1] == 0.0);
}

TEST_CASE("gradients of activations and factors agree with central differences") {
  const auto s = sines<double, 2>({5, 7}, 1), t = sines<double, 2>({5, 7}, 2.3);
  const std::vector<double> weights{1, 0, 2, 0.5, 1};
  const ActivationBoundaryOptions options{.common = {.weight = 3, .sample_weights = weights}};
  Matrix<double> gradient(s.shape());
  (void)activation_boundary_loss<double>(s, t, options, gradient);
  CHECK(error_of_largest(gradient, central_differences(
                                       [&](const Matrix<double>& x) {
                                         return activation_boundary_loss<double>(x, t, options);
                                       },
                                       s)) <= 1e-6);
  const Vector<double> margins = overhaul_margins<double>(gammas, betas);
  for (const auto& [student, teacher] :
       {std::pair<Shape<4>, Shape<4>>{{2, 3, 3, 4}, {2, 3, 7, 4}}, {{1, 3, 2, 2}, {1, 3, 2, 2}}}) {
    CAPTURE(student, teacher);
    const auto maps = sines<double, 4>(student, 1), wanted = sines<double, 4>(teacher, 2);
    Tensor<double, 4> d(student);
    using Loss = std::function<double(const Tensor<double, 4>&, TensorView<double, 4>)>;
    for (const Loss& loss : {Loss([&](const auto&x, auto g) {
                               return overhaul_loss<double>(x, wanted, margins, {.weight = 2}, g);
                             }),
                             Loss([&](const auto&x, auto g) {
                               return factor_transfer_loss<double>(x, wanted, {}, g);
                             })}) {
      (void)loss(maps, d);
      const auto expected =
          central_differences([&](const Tensor<double, 4>& x) { return loss(x, {}); }, maps);
      CHECK(error_of_largest(d, expected) <= 1e-6);
    }
    CHECK(factor_transfer_loss<double>(maps, maps, {}, d) == 0.0);
    for (const double g : d) CHECK(g == 0.0);
  }
}

TEST_CASE("losses of activations refuse what they cannot compare") {
  const auto s = sines<double, 2>({4, 3}, 1), narrow = sines<double, 2>({4, 2}, 1);
  const auto maps = sines<double, 4>({2, 3, 4, 4}, 1), small = sines<double, 4>({2, 3, 2, 2}, 1);
  const Vector<double> margins = overhaul_margins<double>(gammas, betas);
  Vector<double> two({2}), bad = margins;
  bad[1] = std::nan("");
  auto nan = s;
  nan(1, 1) = std::nan("");
  CHECK_THROWS_AS(activation_boundary_loss<double>(s, narrow), ShapeError);
  CHECK_THROWS_WITH(activation_boundary_loss<double>(nan, s), ContainsSubstring("sample 1"));
  CHECK_THROWS_WITH(activation_boundary_loss<double>(s, nan), ContainsSubstring("sample 1"));
  CHECK_THROWS_WITH(activation_boundary_loss<double>(s, s, {.margin = -1}),
                    ContainsSubstring("the margin is -1"));
  CHECK_THROWS_WITH(overhaul_loss<double>(maps, maps, two), ContainsSubstring("2 margins"));
  CHECK_THROWS_AS(overhaul_loss<double>(maps, maps, bad), NumericError);
  CHECK_THROWS_WITH(overhaul_loss<double>(maps, small, margins),
                    ContainsSubstring("maps of [2, 2] cannot be averaged to [4, 4]"));
  CHECK_THROWS_AS(overhaul_margins<double>(two, betas), ShapeError);
  CHECK_THROWS_AS(overhaul_margins<double>(bad, betas), NumericError);
}
