#include "pare/calibration/observer.hpp"

#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "pare/calibration/entropy_observer.hpp"
#include "pare/calibration/min_max_observer.hpp"
#include "pare/calibration/moving_average_observer.hpp"
#include "pare/calibration/mse_observer.hpp"
#include "pare/calibration/percentile_observer.hpp"
#include "pare/formats/all.hpp"
#include "support/catch.hpp"
#include "support/own_formats.hpp"
#include "support/random_matrix.hpp"

#define PARE_ALL_OBSERVERS \
  MinMaxObserver, MovingAverageObserver, PercentileObserver, EntropyObserver, MseObserver

using namespace pare;

namespace {

template <class O>
void require_same_parameters(const O& a, const O& b) {
  for_each_type(TypeList<Int<4>, Int<8>, UInt<4>, UInt<8>, NF4>{}, [&]<class F>(TypeTag<F>) {
    REQUIRE(a.template params<F>() == b.template params<F>());
  });
}

template <class O>
O observing(const std::vector<float>& values) {
  O observer;
  observer.observe(values);
  return observer;
}

}  // namespace

TEMPLATE_TEST_CASE("without observations there is no range", "[calibration]", PARE_ALL_OBSERVERS) {
  TestType observer;
  CHECK_THROWS_AS(observer.template params<Int<8>>(), ArgumentError);
  observer.observe(Matrix<float>({0, 5}));
  observer.observe(std::vector<float>{});
  observer.merge(TestType());
  CHECK(observer.count() == 0);
  CHECK_THROWS_WITH(observer.template params<UInt<8>>(), ContainsSubstring("nothing was observed"));
}

TEMPLATE_TEST_CASE("a batch with NaN or infinity is refused as a whole", "[calibration]",
                   PARE_ALL_OBSERVERS) {
  TestType observer = observing<TestType>({-1.0f, 2.0f});
  Matrix<float> x = test::random_matrix(3, 7, 1, 100.0f);
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    x(2, 5) = bad;
    CHECK_THROWS_AS(observer.observe(x), NumericError);
    CHECK_THROWS_WITH(observer.observe(x), ContainsSubstring("[2, 5]"));
  }
  CHECK(observer.count() == 2);
  require_same_parameters(observer, observing<TestType>({-1.0f, 2.0f}));
}

TEMPLATE_TEST_CASE("zeros give scale 1 and encode to zero", "[calibration]", PARE_ALL_OBSERVERS) {
  const auto observer = observing<TestType>({0.0f, -0.0f, 0.0f});
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    const auto p = observer.template params<F>();
    CHECK(p.scale == 1.0f);
    CHECK(F::decode(F::encode(0.0f, p), p) == 0.0f);
  });
}

TEMPLATE_TEST_CASE("constants and single values lie inside the range", "[calibration]",
                   PARE_ALL_OBSERVERS) {
  for (const float value : {5.0f, -5.0f, 0.1f, 1e30f, -1e30f, 1e-30f}) {
    for (const std::size_t count : {1u, 100u}) {
      const auto observer = observing<TestType>(std::vector<float>(count, value));
      CAPTURE(value, count);
      for_each_type(TypeList<Int<8>, UInt<8>, UInt<4>, NF4>{}, [&]<class F>(TypeTag<F>) {
        const auto p = observer.template params<F>();
        CHECK(F::decode(F::encode(value, p), p) == Approx(value).epsilon(1e-5));
      });
    }
  }
}

TEMPLATE_TEST_CASE("subnormal values keep finite parameters", "[calibration]", PARE_ALL_OBSERVERS) {
  const auto observer = observing<TestType>({1e-45f, -1e-40f, 0.0f});
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    CHECK(is_usable_scale(observer.template params<F>().scale));
  });
}

TEMPLATE_TEST_CASE("one huge outlier is survived", "[calibration]", PARE_ALL_OBSERVERS) {
  TestType observer;
  observer.observe(test::random_matrix(20, 50));
  observer.observe(std::vector<float>{-1e30f});
  CHECK(observer.count() == 1001);
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    CHECK(is_usable_scale(observer.template params<F>().scale));
  });
}

TEMPLATE_TEST_CASE("parts merged in any order equal the whole bit for bit", "[calibration]",
                   MinMaxObserver, PercentileObserver, EntropyObserver, MseObserver) {
  Matrix<float> x = test::random_matrix(90, 33, 4);
  for (Index j = 0; j < 33; ++j) x(70, j) *= 40.0f;
  TestType whole, reversed, parts[3];
  whole.observe(x);
  for (Index i = 90; i-- > 0;) reversed.observe(x.row(i));
  for (Index i = 0; i < 90; ++i) parts[i % 3].observe(x.row(i));
  TestType forwards = parts[0], backwards = parts[2];
  forwards.merge(parts[1]);
  forwards.merge(parts[2]);
  backwards.merge(parts[1]);
  backwards.merge(parts[0]);
  CHECK(forwards.count() == whole.count());
  require_same_parameters(whole, reversed);
  require_same_parameters(whole, forwards);
  require_same_parameters(whole, backwards);
}

TEMPLATE_TEST_CASE("vectors, matrices and strided views observe the same", "[calibration]",
                   PARE_ALL_OBSERVERS) {
  for (const Index cols : {1, 3, 17, 33}) {
    const Matrix<float> x = test::random_matrix(3, cols);
    const test::Strided<float> strided(x.view());
    TestType compact, gaps, flat, turned;
    compact.observe(x);
    gaps.observe(strided.view());
    flat.observe(VectorView<const float>(x.data(), {x.size()}));
    turned.observe(x.view().transposed());
    CHECK(compact.count() == 3 * cols);
    for (const TestType& other : {gaps, flat, turned}) require_same_parameters(compact, other);
  }
}

TEMPLATE_TEST_CASE("fit options reach the parameters", "[calibration]", PARE_ALL_OBSERVERS) {
  const auto observer = observing<TestType>({-3.0f, 2.0f, 1.0f, 0.1f});
  using enum SymmetricDenominator;
  const FitOptions half{.denominator = half_range}, largest{.denominator = largest_code};
  CHECK(observer.template params<Int<8>>(largest).scale ==
        observer.template params<Int<8>>().scale);
  CHECK(observer.template params<Int<8>>(half).scale <
        observer.template params<Int<8>>(largest).scale);
  const float scale = observer.template params<Int<4>>({.scale_type = ScaleType::f16}).scale;
  CHECK(scale == store_scale(scale, ScaleType::f16));
}

TEMPLATE_TEST_CASE("formats with parameters of the whole tensor are observed, too", "[calibration]",
                   PARE_ALL_OBSERVERS) {
  const Matrix<float> x = test::random_matrix(9, 33);
  TestType observer;
  observer.observe(x);
  const auto p = observer.template params<test::TwoLevels>();
  CHECK(p.tensor_scale > 0.0f);
  CHECK(p.tensor_scale != 1.0f);
  // Six steps reach as far as those of another symmetric format, up to the rounding to E4M3.
  const float reach = 6.0f * test::TwoLevels::step(p);
  const float other = 7.5f * observer.template params<Int<4>>().scale;
  if constexpr (!std::is_same_v<TestType, MseObserver>) CHECK(reach == Approx(other).epsilon(0.07));
}
