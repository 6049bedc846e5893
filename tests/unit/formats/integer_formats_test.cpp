#include <cmath>
#include <limits>
#include <string>

#include "pare/core/random.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/type_list.hpp"
#include "pare/formats/uint.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

using Signed = TypeList<Int<2>, Int<3>, Int<4>, Int<5>, Int<6>, Int<7>, Int<8>>;
using Unsigned = TypeList<UInt<2>, UInt<3>, UInt<4>, UInt<5>, UInt<6>, UInt<7>, UInt<8>>;

static_assert(Format<Int<2>> && Format<Int<8>> && Format<UInt<2>> && Format<UInt<8>>);

constexpr FitOptions with(SymmetricDenominator denominator) {
  return {ScaleType::f32, denominator, true};
}

}  // namespace

TEST_CASE("symmetric scales divide by the denominator asked for", "[formats]") {
  using enum SymmetricDenominator;
  const Range range{-3.0f, 15.0f};
  CHECK(Int<4>::fit(range, with(automatic)).scale == 2.0f);
  CHECK(Int<4>::fit(range, with(half_range)).scale == 2.0f);
  CHECK(Int<4>::fit(range, with(largest_code)).scale == 15.0f / 7.0f);
  CHECK(Int<8>::fit(range, with(automatic)).scale == 15.0f / 127.0f);
  CHECK(Int<8>::fit(range, with(half_range)).scale == 15.0f / 127.5f);
  CHECK(Int<2>::fit(range, with(automatic)).scale == 10.0f);
  CHECK(Int<2>::fit(range, with(largest_code)).scale == 15.0f);
}

TEST_CASE("symmetric codes use the full range", "[formats]") {
  const Int<4>::Parameters p{2.0f};
  const struct {
    float value;
    int code;
  } cases[] = {{0, 0},    {1, 0},     {3, 2},          {5, 2},         {-1, 0},
               {-3, -2},  {14, 7},    {15, 7},         {100, 7},       {-15, -8},
               {-16, -8}, {-100, -8}, {3.0000002f, 2}, {2.9999998f, 1}};
  for (const auto& c : cases) {
    CAPTURE(c.value);
    CHECK(int{Int<4>::encode(c.value, p)} == c.code);
  }
  CHECK(Int<4>::decode(-8, p) == -16.0f);
}

TEST_CASE("zero points lie within the codes", "[formats]") {
  // Each by hand: scale = width / 15, zero_point = round(-lo / scale).
  const struct {
    Range range;
    float scale;
    int zero_point;
  } cases[] = {{{-5, 10}, 1, 5},   {{0, 30}, 2, 0},       {{-30, 0}, 2, 15}, {{3, 15}, 1, 0},
               {{-15, -3}, 1, 15}, {{-7.5f, 7.5f}, 1, 8}, {{0, 0}, 1, 0},    {{-6.5f, 8.5f}, 1, 6}};
  for (const auto& c : cases) {
    CAPTURE(c.range.lo, c.range.hi);
    CHECK(UInt<4>::fit(c.range, {}) == UInt<4>::Parameters{c.scale, c.zero_point});
  }
}

TEST_CASE("the zero point divides by the scale", "[formats]") {
  // In float32 0.01 / (0.1 / 15) is just below 1.5, its product with the reciprocal exactly 1.5.
  CHECK(UInt<4>::fit({-0.01f, 0.09f}, {}).zero_point == 1);
  CHECK(UInt<4>::fit({-0.05f, 0.45f}, {}).zero_point == 2);
}

TEST_CASE("a range that is not extended to zero clips as AWQ does", "[formats]") {
  const FitOptions awq{.extend_to_zero = false};
  CHECK(UInt<4>::fit({3, 18}, awq) == UInt<4>::Parameters{1.0f, 0});
  CHECK(UInt<4>::fit({-18, -3}, awq) == UInt<4>::Parameters{1.0f, 15});
  CHECK(UInt<4>::fit({-5, 10}, awq) == UInt<4>::fit({-5, 10}, {}));
  CHECK(UInt<4>::fit({1.0f, 1.000001f}, awq).scale == 1e-5f / 15.0f);
  CHECK(UInt<4>::fit({4, 4}, awq) == UInt<4>::fit({0, 4}, {}));
}

TEST_CASE("the zero point is found with the scale as stored", "[formats]") {
  // 0.1 in f16 is 0.09998: 0.75 / 0.09998 rounds to 8 where 0.75 / 0.1 would be a tie.
  const auto p = UInt<4>::fit({-0.75f, 0.75f}, {ScaleType::f16});
  CHECK(p.scale == 0.0999755859375f);
  CHECK(p.zero_point == 8);
  CHECK(UInt<4>::fit({-1e-9f, 1e-9f}, {ScaleType::f16}).zero_point == 0);
}

TEST_CASE("every code decodes to a value that encodes to it", "[formats]") {
  Random random(3);
  for_each_type(Signed{}, [&]<class F>(TypeTag<F>) {
    CHECK(F::name == "int" + std::to_string(F::code_bits));
    for (int repetition = 0; repetition < 20; ++repetition) {
      const typename F::Parameters p{std::exp(random.uniform(-20.0f, 20.0f))};
      for (int code = -F::code_offset; code < F::code_offset; ++code) {
        const auto stored = static_cast<typename F::Code>(code);
        REQUIRE(F::encode(F::decode(stored, p), p) == stored);
        REQUIRE(from_stored<F>(to_stored<F>(stored)) == stored);
        REQUIRE(int{to_stored<F>(stored)} == code + F::code_offset);
      }
    }
  });
  for_each_type(Unsigned{}, [&]<class F>(TypeTag<F>) {
    CHECK(F::name == "uint" + std::to_string(F::code_bits));
    for (int zero_point = 0; zero_point <= F::largest_code; ++zero_point) {
      const typename F::Parameters p{std::exp(random.uniform(-20.0f, 20.0f)), zero_point};
      for (int code = 0; code <= F::largest_code; ++code)
        REQUIRE(int{F::encode(F::decode(static_cast<typename F::Code>(code), p), p)} == code);
    }
  });
}

TEST_CASE("a value inside the fitted range is at most half a step off", "[formats]") {
  Random random(5);
  const auto check = [&]<class F>(TypeTag<F>, double steps) {
    for (int i = 0; i < 500; ++i) {
      const float a = random.normal(), b = random.normal(), t = random.uniform();
      const Range range{std::min(a, b), std::max(a, b)};
      const auto p = F::fit(range, {});
      const float value = range.lo + t * (range.hi - range.lo);
      const double error = std::fabs(double{F::decode(F::encode(value, p), p)} - double{value});
      REQUIRE(error <= steps * double{p.scale} * (1 + 1e-5));
    }
  };
  // A zero point is rounded too: one end may be another half step out of reach.
  for_each_type(Signed{}, [&](auto tag) { check(tag, 0.5); });
  for_each_type(Unsigned{}, [&](auto tag) { check(tag, 1.0); });
}

TEST_CASE("subnormal and huge blocks keep finite codes", "[formats]") {
  for (const float magnitude : {std::numeric_limits<float>::denorm_min(), 1e-40f, 1e30f, 1e38f}) {
    CAPTURE(magnitude);
    const Range range{-magnitude, magnitude};
    const auto i = Int<8>::fit(range, {});
    CHECK(is_usable_scale(i.scale));
    CHECK(std::isfinite(Int<8>::decode(Int<8>::encode(magnitude, i), i)));
    const auto u = UInt<8>::fit(range, {});
    CHECK(is_usable_scale(u.scale));
    CHECK(std::isfinite(UInt<8>::decode(UInt<8>::encode(-magnitude, u), u)));
  }
}
