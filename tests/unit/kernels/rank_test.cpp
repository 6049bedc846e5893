#include "pare/kernels/rank.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "pare/kernels/cpu.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

TEST_CASE("every rank kernel counts, copies and marks as plain loops do") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const KernelName name : {KernelName::reference, KernelName::avx2, KernelName::avx512}) {
    if (!kernels::cpu_supports(name)) continue;
    const kernels::RankKernel kernel = kernels::select_rank_kernel({.force = name});
    for (const Index n : {0, 1, 7, 16, 63, 64, 65, 200}) {
      // One float in front leaves the values unaligned; many are equal, zeros have both signs.
      Matrix<float> values = test::random_integers(1, n + 1, -3, 3, 7);
      float* const x = values.data() + 1;
      if (n > 2) x[0] = -infinity, x[n / 2] = infinity, x[n - 1] = -0.0f;
      for (const float bound : {-infinity, -1.0f, 0.0f, 2.5f, infinity}) {
        CAPTURE(to_string(name), n, bound);
        Index below = 0;
        for (Index j = 0; j < n; ++j) below += x[j] < bound;
        CHECK(kernel.count_below(x, n, bound) == below);

        std::vector<std::uint64_t> words(static_cast<std::size_t>(ceil_div(n, 64)) + 1, 77);
        kernel.bits_from(x, n, bound, words.data());
        CHECK(words.back() == 77);
        for (Index j = 0; j < 64 * ceil_div(n, 64); ++j)
          REQUIRE((words[static_cast<std::size_t>(j / 64)] >> (j % 64) & 1) ==
                  (j < n && x[j] >= bound ? 1u : 0u));

        std::vector<float> expected;
        for (Index j = 0; j < n; ++j)
          if (x[j] >= -1.0f && x[j] <= bound) expected.push_back(x[j]);
        std::vector<float> copied(expected.size() + 1, 77.0f);
        CHECK(kernel.copy_between(x, n, -1.0f, bound, copied.data()) == std::ssize(expected));
        CHECK(copied.back() == 77.0f);
        copied.pop_back();
        CHECK(copied == expected);
      }
      CHECK_FALSE(kernel.has_nan(x, n));
      for (Index j = 0; j < n; ++j) {
        const float before = x[j];
        x[j] = std::numeric_limits<float>::quiet_NaN();
        CHECK(kernel.has_nan(x, n));
        x[j] = before;
      }
    }
  }
}
