#include "pare/formats/fp4.hpp"

#include <cmath>

#include "pare/core/random.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

static_assert(Format<FP4> && !FP4::is_integer && code_count<FP4>() == 16);

/// What the bits of E2M1 mean: sign, exponent of bias 1, mantissa; subnormal below 1.
double meaning(int code) {
  const int exponent = code >> 1 & 3, mantissa = code & 1;
  const double magnitude =
      exponent == 0 ? 0.5 * mantissa : std::ldexp(1.0 + 0.5 * mantissa, exponent - 1);
  return code & 8 ? -magnitude : magnitude;
}

/// The nearest magnitude by plain search; the even code of two equally near; with the sign.
int nearest_code(double normalized) {
  const double magnitude = std::fabs(normalized);
  int best = 0;
  for (int code = 1; code < 8; ++code) {
    const double distance = std::fabs(magnitude - meaning(code)),
                 least = std::fabs(magnitude - meaning(best));
    if (distance < least || (distance == least && code % 2 == 0)) best = code;
  }
  return best + (std::signbit(normalized) ? 8 : 0);
}

}  // namespace

TEST_CASE("the FP4 codebook is E2M1", "[formats]") {
  for (int code = 0; code < 16; ++code) {
    const float entry = FP4::codebook[static_cast<std::size_t>(code)];
    CHECK(double{entry} == meaning(code));
    CHECK(std::signbit(entry) == (code >= 8));
    CHECK(FP4::decode(static_cast<std::uint8_t>(code), {0.5f}) == 0.5f * entry);
    CHECK(int{FP4::encode(0.5f * entry, {0.5f})} == code);
  }
}

TEST_CASE("FP4 takes the nearest entry of the codebook", "[formats]") {
  Random random(12);
  for (const float scale : {1.0f, 0.25f, 1024.0f})
    for (int i = 0; i < 2000; ++i) {
      const float value = random.uniform(-7.0f, 7.0f);
      REQUIRE(int{FP4::encode(value * scale, {scale})} == nearest_code(double{value}));
    }
}

TEST_CASE("halfway between two FP4 entries the even mantissa wins", "[formats]") {
  struct Case {
    float value, rounded;
  };
  for (const Case c : {Case{0.25f, 0.0f},
                       {0.75f, 1.0f},
                       {1.25f, 1.0f},
                       {1.75f, 2.0f},
                       {2.5f, 2.0f},
                       {3.5f, 4.0f},
                       {5.0f, 4.0f}})
    for (const float sign : {1.0f, -1.0f}) {
      const auto rounded = [&](float value) { return FP4::decode(FP4::encode(value, {}), {}); };
      CHECK(rounded(sign * c.value) == sign * c.rounded);
      const bool down = c.rounded < c.value;
      const float beyond = std::nextafter(c.value, down ? 10.0f : 0.0f);
      CHECK(rounded(sign * beyond) != sign * c.rounded);
    }
}

TEST_CASE("FP4 saturates and keeps the sign of zero", "[formats]") {
  CHECK(int{FP4::encode(1e30f, {})} == 7);
  CHECK(int{FP4::encode(-1e30f, {})} == 15);
  CHECK(int{FP4::encode(0.0f, {})} == 0);
  CHECK(int{FP4::encode(-0.1f, {})} == 8);
}

TEST_CASE("the FP4 scale makes the absmax the largest entry", "[formats]") {
  CHECK(FP4::fit({-3.0f, 2.0f}, {}).scale == 0.5f);
  CHECK(FP4::fit({-1.0f, 12.0f}, {}).scale == 2.0f);
  CHECK(FP4::fit({0.0f, 0.0f}, {}).scale == 1.0f);
  const auto p = FP4::fit({-0.1f, 0.7f}, {ScaleType::f16});
  CHECK(p.scale == store_scale(0.7f / 6.0f, ScaleType::f16));
}
