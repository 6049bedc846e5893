#include "pare/calibration/min_max_observer.hpp"

#include <vector>

#include "pare/formats/int.hpp"
#include "pare/formats/uint.hpp"
#include "support/catch.hpp"

using namespace pare;

TEST_CASE("min-max covers everything observed", "[calibration]") {
  MinMaxObserver observer;
  observer.observe(std::vector<float>{1, 3, 2});
  observer.observe(std::vector<float>{-51, 2});
  observer.observe(std::vector<float>{0, 204});
  CHECK(observer.count() == 7);
  CHECK(observer.range().lo == -51.0f);
  CHECK(observer.range().hi == 204.0f);
  CHECK(observer.params<UInt<8>>() == UInt<8>::Parameters{1.0f, 51});
  CHECK(observer.params<Int<8>>().scale == 204.0f / 127.0f);
}

TEST_CASE("min-max of positive values does not include zero by itself", "[calibration]") {
  MinMaxObserver observer;
  observer.observe(std::vector<float>{3, 18});
  CHECK(observer.range().lo == 3.0f);
  CHECK(observer.params<UInt<4>>() == UInt<4>::Parameters{18.0f / 15.0f, 0});
  CHECK(observer.params<UInt<4>>({.extend_to_zero = false}) == UInt<4>::Parameters{1.0f, 0});
}
