#include "pare/kernels/lane_round.hpp"

#include <cstdint>
#include <limits>

#include "pare/core/random.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/uint.hpp"
#include "pare/kernels/lane_update.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

/// Sixteen values in the order of lanes, one float off any alignment.
struct Lanes {
  float memory[lane_count + 1] = {};
  [[nodiscard]] float* data() { return memory + 1; }
};

template <Format F>
void check_against_format(LaneRound round, Random& random) {
  constexpr std::int32_t lo = -F::code_offset, hi = (1 << F::code_bits) - 1 - F::code_offset;
  Lanes values, scales, kept;
  std::int32_t zero_points[lane_count] = {}, codes[lane_count];
  typename F::Parameters parameters[lane_count];
  for (Index l = 0; l < lane_count; ++l) {
    auto& p = parameters[l];
    p.scale = scales.data()[l] = random.uniform(0.001f, 2.0f);
    if (F::has_zero_point) zero_points[l] = static_cast<std::int32_t>(l) % (hi + 1);
    F::set_zero_point(p, zero_points[l]);
    // Ties, values out of range, zeros of both signs and others.
    const float choices[] = {(static_cast<float>(l) - 7.5f) * p.scale,
                             random.uniform(-1.0f, 1.0f) * 600.0f * p.scale,
                             random.uniform(-4.0f, 4.0f) * p.scale,
                             -0.0f,
                             1e30f,
                             -std::numeric_limits<float>::infinity()};
    values.data()[l] = choices[static_cast<std::size_t>(l) % std::size(choices)];
  }
  round(values.data(), {scales.data(), zero_points, lo, hi}, codes, kept.data());
  for (Index l = 0; l < lane_count; ++l) {
    CAPTURE(l, values.data()[l], scales.data()[l]);
    const auto code = F::encode(values.data()[l], parameters[l]);
    CHECK(codes[l] == static_cast<std::int32_t>(code));
    CHECK(kept.data()[l] == F::decode(code, parameters[l]));
  }
}

}  // namespace

TEST_CASE("lanes round to the codes of their formats with every kernel") {
  for (const KernelName kernel : {KernelName::automatic, KernelName::reference,
                                  KernelName::portable, KernelName::avx2, KernelName::avx512}) {
    if (!kernels::cpu_supports(kernel)) continue;
    const LaneRound round = select_lane_round({.force = kernel});
    Random random(5);
    for (int repetition = 0; repetition < 20; ++repetition) {
      check_against_format<Int<2>>(round, random);
      check_against_format<Int<4>>(round, random);
      check_against_format<Int<8>>(round, random);
      check_against_format<UInt<3>>(round, random);
      check_against_format<UInt<8>>(round, random);
    }
  }
}

TEST_CASE("a NaN lane gets the least code with every kernel") {
  for (const KernelName kernel :
       {KernelName::reference, KernelName::portable, KernelName::avx2, KernelName::avx512}) {
    if (!kernels::cpu_supports(kernel)) continue;
    Lanes values, scales, kept;
    std::int32_t zero_points[lane_count] = {}, codes[lane_count];
    for (Index l = 0; l < lane_count; ++l) scales.data()[l] = 0.5f;
    values.data()[3] = std::numeric_limits<float>::quiet_NaN();
    select_lane_round({.force = kernel})(values.data(), {scales.data(), zero_points, -8, 7}, codes,
                                         kept.data());
    CHECK(codes[3] == -8);
    CHECK(codes[4] == 0);
  }
}

TEST_CASE("a lane rounding that does not exist is refused") {
  CHECK_THROWS_AS(select_lane_round({.force = KernelName::avx512vnni}), ArgumentError);
}
