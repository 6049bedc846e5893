#include "pare/kernels/lane_update.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "pare/core/random.hpp"
#include "support/catch.hpp"

using namespace pare;

TEST_CASE("lane update subtracts the outer product for every kernel and count") {
  for (const KernelName kernel : {KernelName::automatic, KernelName::reference,
                                  KernelName::portable, KernelName::avx2, KernelName::avx512}) {
    if (!kernels::cpu_supports(kernel)) continue;
    const LaneUpdate update = select_lane_update({.force = kernel});
    for (const Index count : {0, 1, 3, 17, 128}) {
      Random random(static_cast<std::uint64_t>(count) + 1);
      const auto size = static_cast<std::size_t>(count);
      // One float in front of each array leaves it unaligned; one row behind must not change.
      std::vector<float> u(size + 1), e(lane_count + 1), tile((size + 1) * lane_count + 1);
      for (std::vector<float>* values : {&u, &e, &tile})
        for (float& value : *values) value = random.uniform(-1.0f, 1.0f);
      const std::vector<float> before = tile;
      update(u.data() + 1, e.data() + 1, count, tile.data() + 1);
      for (std::size_t k = 0; k < tile.size(); ++k) {
        const std::size_t j = k == 0 ? size : (k - 1) / lane_count;
        if (j >= size) {
          CHECK(tile[k] == before[k]);
          continue;
        }
        const double product = static_cast<double>(u[j + 1]) * e[(k - 1) % lane_count + 1];
        // A product and a difference, both below 2 in magnitude, each rounded once.
        CHECK(std::fabs(tile[k] - (before[k] - product)) <= std::numeric_limits<float>::epsilon());
      }
    }
  }
}

TEST_CASE("a lane update that does not exist is refused") {
  CHECK_THROWS_AS(select_lane_update({.force = KernelName::avx512vnni}), ArgumentError);
}
