#include "pare/core/float16.hpp"

#include <Eigen/Core>
#include <cmath>
#include <limits>
#include <type_traits>

#include "support/catch.hpp"

using namespace pare;

namespace {

static_assert(std::is_trivially_copyable_v<Float16> && std::is_trivially_copyable_v<BFloat16>);
static_assert(static_cast<float>(Float16(1.5f)) == 1.5f);
static_assert(BFloat16(1.0f).bits == 0x3f80);

struct HalfOracle {
  using Type = Float16;
  static constexpr unsigned infinity = 0x7c00;
  static float to_float(std::uint16_t bits) {
    return static_cast<float>(Eigen::numext::bit_cast<Eigen::half>(bits));
  }
  static std::uint16_t from_float(float f) {
    return Eigen::numext::bit_cast<std::uint16_t>(Eigen::half(f));
  }
};

struct BrainOracle {
  using Type = BFloat16;
  static constexpr unsigned infinity = 0x7f80;
  static float to_float(std::uint16_t bits) {
    return static_cast<float>(Eigen::numext::bit_cast<Eigen::bfloat16>(bits));
  }
  static std::uint16_t from_float(float f) {
    return Eigen::numext::bit_cast<std::uint16_t>(Eigen::bfloat16(f));
  }
};

std::uint32_t bits_of(float f) { return std::bit_cast<std::uint32_t>(f); }

}  // namespace

TEMPLATE_TEST_CASE("all 65,536 patterns agree with Eigen both ways", "[core]", HalfOracle,
                   BrainOracle) {
  using T = typename TestType::Type;
  for (unsigned pattern = 0; pattern <= 0xffff; ++pattern) {
    const auto bits = static_cast<std::uint16_t>(pattern);
    const float value = static_cast<float>(T::from_bits(bits));
    if ((pattern & 0x7fff) > TestType::infinity) {
      REQUIRE(std::isnan(value));
      REQUIRE(std::signbit(value) == (pattern >> 15 == 1));
      const unsigned back = T(value).bits;
      REQUIRE((back & 0x7fff) > TestType::infinity);
      REQUIRE(back >> 15 == pattern >> 15);
    } else {
      REQUIRE(bits_of(value) == bits_of(TestType::to_float(bits)));
      REQUIRE(T(value).bits == bits);
      REQUIRE(TestType::from_float(value) == bits);
    }
  }
}

TEMPLATE_TEST_CASE("midpoints round to even and their neighbours to the nearest", "[core]",
                   HalfOracle, BrainOracle) {
  using T = typename TestType::Type;
  for (unsigned lower = 0; lower + 1 < TestType::infinity; ++lower) {
    const float below = static_cast<float>(T::from_bits(static_cast<std::uint16_t>(lower)));
    const float above = static_cast<float>(T::from_bits(static_cast<std::uint16_t>(lower + 1)));
    // Exact: a midpoint has one more bit than its ends.
    const float middle = below + (above - below) / 2.0f;
    const unsigned even = lower % 2 == 0 ? lower : lower + 1;
    REQUIRE(T(middle).bits == even);
    REQUIRE(T(-middle).bits == (even | 0x8000u));
    REQUIRE(T(std::nextafter(middle, 0.0f)).bits == lower);
    REQUIRE(T(std::nextafter(middle, above)).bits == lower + 1);
  }
}

TEMPLATE_TEST_CASE("floats of every exponent agree with Eigen", "[core]", HalfOracle, BrainOracle) {
  using T = typename TestType::Type;
  for (std::uint64_t pattern = 0; pattern < 0x7f800000u; pattern += 9973) {
    const float f = std::bit_cast<float>(static_cast<std::uint32_t>(pattern));
    REQUIRE(T(f).bits == TestType::from_float(f));
    REQUIRE(T(-f).bits == TestType::from_float(-f));
  }
}

TEST_CASE("values beyond the largest half overflow to infinity from the midpoint on", "[core]") {
  CHECK(Float16(65504.0f).bits == 0x7bff);
  CHECK(Float16(std::nextafter(65520.0f, 0.0f)).bits == 0x7bff);
  CHECK(Float16(65520.0f).bits == 0x7c00);
  CHECK(Float16(-1e30f).bits == 0xfc00);
  CHECK(Float16(std::numeric_limits<float>::infinity()).bits == 0x7c00);
  CHECK(BFloat16(std::numeric_limits<float>::max()).bits == 0x7f80);
  CHECK(BFloat16(-std::numeric_limits<float>::infinity()).bits == 0xff80);
}

TEST_CASE("NaN stays NaN even when only its low mantissa bits are set", "[core]") {
  for (const std::uint32_t pattern : {0x7f800001u, 0xff800001u, 0x7fffffffu, 0x7fc00000u}) {
    const float nan = std::bit_cast<float>(pattern);
    CHECK(std::isnan(static_cast<float>(Float16(nan))));
    CHECK(std::isnan(static_cast<float>(BFloat16(nan))));
    CHECK(Float16(nan).bits >> 15 == pattern >> 31);
    CHECK(BFloat16(nan).bits >> 15 == pattern >> 31);
  }
}
