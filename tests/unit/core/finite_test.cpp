#include "pare/core/finite.hpp"

#include <limits>

#include "pare/core/tensor.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

}  // namespace

TEST_CASE("the largest and smallest floats are finite", "[core]") {
  const float values[] = {0.0f, -0.0f, std::numeric_limits<float>::max(),
                          std::numeric_limits<float>::lowest(),
                          std::numeric_limits<float>::denorm_min()};
  CHECK(all_finite(values, 5));
  CHECK(all_finite(values, 0));
  for (const float bad : {infinity, -infinity, not_a_number, -not_a_number}) {
    CHECK_FALSE(all_finite(&bad, 1));
    for (Index at = 0; at < 19; ++at) {
      float several[19] = {};
      several[at] = bad;
      CHECK_FALSE(all_finite(several, 19));
    }
  }
}

TEST_CASE("the first value that is not finite is named", "[core]") {
  for (const Index cols : {1, 3, 17, 33}) {
    Matrix<float> m = test::random_matrix(4, cols);
    CHECK_NOTHROW(require_finite(m, "weight"));
    m(3, 0) = not_a_number;
    m(2, cols - 1) = -infinity;
    CHECK_THROWS_WITH(require_finite(m, "weight"),
                      "weight holds infinity at [2, " + std::to_string(cols - 1) + "]");
    m(2, cols - 1) = 0.0f;
    CHECK_THROWS_WITH(require_finite(m, "weight"), "weight holds NaN at [3, 0]");
    m(3, 0) = 0.0f;
    CHECK_NOTHROW(require_finite(m, "weight"));
  }
}

TEST_CASE("values between the strides of a view are not looked at", "[core]") {
  test::Strided<float> strided(test::random_matrix(3, 5).view());
  CHECK_NOTHROW(require_finite(strided.view(), "x"));
  CHECK_NOTHROW(require_finite(strided.view().transposed(), "x"));
  strided.view()(1, 4) = not_a_number;
  CHECK_THROWS_WITH(require_finite(strided.view().transposed(), "x"), "x holds NaN at [4, 1]");
}

TEST_CASE("a matrix without elements is finite", "[core]") {
  CHECK_NOTHROW(require_finite(Matrix<float>({0, 3}), "x"));
  CHECK_NOTHROW(require_finite(Matrix<float>({3, 0}), "x"));
}
