#include "pare/formats/ternary.hpp"

#include <cmath>
#include <vector>

#include "pare/core/random.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

static_assert(Format<Ternary> && Ternary::is_integer && !Ternary::has_zero_point);
static_assert(code_count<Ternary>() == 3);

constexpr Range no_range{};

}  // namespace

TEST_CASE("the ternary scale is the mean magnitude as BitNet b1.58 has it", "[formats]") {
  Random random(5);
  for (const Index count : {1, 3, 17, 64, 1000})
    for (const Index stride : {1, 3}) {
      std::vector<float> w(static_cast<std::size_t>(count * stride), 1e9f);
      double sum = 0.0;
      for (Index i = 0; i < count; ++i) {
        const float value = random.normal();
        w[static_cast<std::size_t>(i * stride)] = value;
        sum += std::fabs(double{value});
      }
      const double mean = sum / static_cast<double>(count);
      CHECK(Ternary::fit_values(w.data(), count, stride, {}).scale ==
            Approx(mean).epsilon(1e-7).margin(0));
      const float stored = Ternary::fit_values(w.data(), count, stride, {ScaleType::f16}).scale;
      CHECK(stored == store_scale(stored, ScaleType::f16));
      CHECK(stored == Approx(mean).epsilon(1e-3));
    }
}

TEST_CASE("a weight takes the nearest of three values, a tie the even code", "[formats]") {
  struct Case {
    float value;
    int code;
  };
  for (const float scale : {1.0f, 0.25f, 1024.0f})
    for (const Case c : {Case{0.0f, 0},
                         {-0.0f, 0},
                         {0.5f, 0},
                         {-0.5f, 0},
                         {0.5000001f, 1},
                         {-0.5000001f, -1},
                         {1.0f, 1},
                         {1.6f, 1},
                         {-1e30f, -1},
                         {1e30f, 1}})
      CHECK(int{Ternary::encode(c.value * scale, {scale})} == c.code);
  for (const int code : {-1, 0, 1}) {
    CHECK(Ternary::decode(static_cast<std::int8_t>(code), {3.0f}) ==
          3.0f * static_cast<float>(code));
    CHECK(Ternary::encode(3.0f * static_cast<float>(code), {3.0f}) == code);
    const std::uint8_t stored = to_stored<Ternary>(static_cast<std::int8_t>(code));
    CHECK(int{stored} == code + 1);
    CHECK(int{from_stored<Ternary>(stored)} == code);
  }
}

TEST_CASE("a range alone gives a ternary scale that keeps the outermost values", "[formats]") {
  CHECK(Ternary::fit({-3.0f, 2.0f}, {}).scale == 3.0f);
  CHECK(Ternary::fit(no_range, {}).scale == 1.0f);
}

TEST_CASE("a zero block is zero in ternary", "[formats]") {
  const std::vector<float> zeros(7);
  const auto p = Ternary::fit_values(zeros.data(), 7, 1, {ScaleType::f16});
  CHECK(p.scale == 1.0f);
  CHECK(Ternary::encode(0.0f, p) == 0);
}

TEST_CASE("the fourth stored number is no ternary code", "[formats]") {
  QuantizedMatrix<Ternary> q(1, 4, -1, ScaleType::f32);
  for (const int code : {-1, 0, 1}) {
    q.codes()(0, 1) = static_cast<std::int8_t>(code);
    CHECK(int{detail::stored_code(q, 0, 1)} == code + 1);
  }
  for (const int code : {-2, 2, 3}) {
    q.codes()(0, 1) = static_cast<std::int8_t>(code);
    CHECK_THROWS_WITH(detail::stored_code(q, 0, 1),
                      "code " + std::to_string(code) + " at [0, 1] is no ternary");
  }
}
