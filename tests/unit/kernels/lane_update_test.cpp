#include "pare/kernels/lane_update.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "pare/core/random.hpp"
#include "support/catch.hpp"

using namespace pare;

TEST_CASE("lane update subtracts outer products for every kernel, depth and count") {
  for (const KernelName kernel : {KernelName::automatic, KernelName::reference,
                                  KernelName::portable, KernelName::avx2, KernelName::avx512}) {
    if (!kernels::cpu_supports(kernel)) continue;
    const LaneUpdate update = select_lane_update({.force = kernel});
    for (const Index depth : {1, 3, 16})
      for (const Index count : {0, 1, 3, 17, 128}) {
        CAPTURE(to_string(kernel), depth, count);
        Random random(static_cast<std::uint64_t>(count) + 1);
        const Index stride = count + 2;
        const auto vector = [&](Index size) {
          std::vector<float> values(static_cast<std::size_t>(size));
          for (float& value : values) value = random.uniform(-1.0f, 1.0f);
          return values;
        };
        // One float in front of each array leaves it unaligned; one row behind must not change.
        const std::vector<float> u = vector(depth * stride + 1), e = vector(depth * lane_count + 1);
        const std::vector<float> before = vector((count + 1) * lane_count + 1);
        std::vector<float> tile = before;
        update(depth, u.data() + 1, stride, e.data() + 1, count, tile.data() + 1);
        CHECK(tile[0] == before[0]);
        double worst = 0.0;
        for (Index j = 0; j <= count; ++j)
          for (Index l = 0; l < lane_count; ++l) {
            const auto k = static_cast<std::size_t>(j * lane_count + l + 1);
            double expected = before[k];
            for (Index c = 0; j < count && c < depth; ++c)
              expected -= static_cast<double>(u[static_cast<std::size_t>(c * stride + j + 1)]) *
                          e[static_cast<std::size_t>(c * lane_count + l + 1)];
            const double error = std::fabs(tile[k] - expected);
            worst = std::max(worst, j < count ? error : error * 1e9);
          }
        // Each term: a product and a difference, at most depth + 1 in magnitude, rounded once.
        CHECK(worst <= std::numeric_limits<float>::epsilon() * static_cast<double>(depth) *
                           static_cast<double>(depth + 1) / 2);
      }
  }
}

TEST_CASE("an update of many columns has the bits of one after the other") {
  for (const KernelName kernel :
       {KernelName::reference, KernelName::portable, KernelName::avx2, KernelName::avx512}) {
    if (!kernels::cpu_supports(kernel)) continue;
    const LaneUpdate update = select_lane_update({.force = kernel});
    Random random(3);
    std::vector<float> u(16 * 33), e(16 * lane_count), tile(33 * lane_count);
    for (std::vector<float>* values : {&u, &e, &tile})
      for (float& value : *values) value = random.uniform(-1.0f, 1.0f);
    std::vector<float> stepwise = tile;
    update(16, u.data(), 33, e.data(), 33, tile.data());
    for (std::size_t c = 0; c < 16; ++c)
      update(1, u.data() + c * 33, 33, e.data() + c * 16, 33, stepwise.data());
    CHECK(tile == stepwise);
  }
}

TEST_CASE("a lane update that does not exist is refused") {
  CHECK_THROWS_AS(select_lane_update({.force = KernelName::avx512vnni}), ArgumentError);
}
