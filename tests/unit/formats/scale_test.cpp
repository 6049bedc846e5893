#include "pare/formats/scale.hpp"

#include <limits>
#include <vector>

#include "support/catch.hpp"

using namespace pare;

TEST_CASE("a scale is rounded to its storage type", "[formats]") {
  CHECK(store_scale(0.1f, ScaleType::f32) == 0.1f);
  CHECK(store_scale(0.1f, ScaleType::f16) == 0.0999755859375f);
  CHECK(store_scale(0.1f, ScaleType::bf16) == 0.10009765625f);
  CHECK(store_scale(1e-9f, ScaleType::f16) == 0.0f);
  CHECK(store_scale(1e9f, ScaleType::f16) == std::numeric_limits<float>::infinity());
  CHECK(bits(ScaleType::f32) == 32);
  CHECK(bits(ScaleType::bf16) == 16);
  CHECK(to_string(ScaleType::f16) == "f16");
}

TEST_CASE("only positive finite scales are usable", "[formats]") {
  CHECK(is_usable_scale(1.0f));
  CHECK(is_usable_scale(std::numeric_limits<float>::denorm_min()));
  for (const float bad : {0.0f, -1.0f, std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()})
    CHECK_FALSE(is_usable_scale(bad));
}

TEST_CASE("a zero block gets scale 1 and no float32 scale under- or overflows", "[formats]") {
  CHECK(fit_scale(0.0f, 7.5f, ScaleType::f16) == 1.0f);
  CHECK(fit_scale(15.0f, 7.5f, ScaleType::f16) == 2.0f);
  CHECK(fit_scale(1e-45f, 127.0f, ScaleType::f32) == std::numeric_limits<float>::min());
  CHECK(is_usable_scale(fit_scale(std::numeric_limits<float>::infinity(), 1.0f, ScaleType::f32)));
  CHECK_FALSE(is_usable_scale(fit_scale(1e-6f, 127.0f, ScaleType::f16)));
}

TEST_CASE("a scale that F16 would round to zero can be raised", "[formats]") {
  const auto raised = [](float magnitude, ScaleType type) {
    return fit_scale(magnitude, 1.0f, type, ScaleUnderflow::smallest);
  };
  CHECK(raised(1e-9f, ScaleType::f16) == 0x1p-24f);
  CHECK(raised(1e-9f, ScaleType::f16) == static_cast<float>(Float16::from_bits(1)));
  CHECK(raised(0x1p-25f, ScaleType::f16) == 0x1p-24f);    // a tie, which goes to zero
  CHECK(raised(0x1.8p-24f, ScaleType::f16) == 0x1p-23f);  // a tie of two that are stored
  CHECK(raised(0.0f, ScaleType::f16) == 1.0f);
  CHECK(raised(1e-9f, ScaleType::bf16) == store_scale(1e-9f, ScaleType::bf16));
  CHECK(raised(1e-9f, ScaleType::f32) == 1e-9f);
  CHECK_FALSE(is_usable_scale(raised(1e6f, ScaleType::f16)));
}

TEST_CASE("a range is found at any stride", "[formats]") {
  const std::vector<float> values{3, -9, -2, 9, 5, -9, 1};
  const Range all = range_of(values.data(), 7), odd = range_of(values.data(), 4, 2);
  CHECK(all.lo == -9.0f);
  CHECK(all.hi == 9.0f);
  CHECK(odd.lo == -2.0f);
  CHECK(odd.hi == 5.0f);
  CHECK(odd.absmax() == 5.0f);
  CHECK(Range{-7.0f, 5.0f}.absmax() == 7.0f);
  CHECK(Range{2.0f, 5.0f}.scaled(0.5f).lo == 1.0f);
}
