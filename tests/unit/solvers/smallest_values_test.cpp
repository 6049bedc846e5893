#include "pare/solvers/smallest_values.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

struct ValuesCase {
  const char* name;
  float (*value)(float normal, Index j);
};

const ValuesCase values_cases[] = {
    {"normal", [](float x, Index) { return x; }},
    {"all alike", [](float, Index) { return -2.0f; }},
    {"few different", [](float x, Index) { return std::round(x); }},
    {"of very different sizes", [](float x, Index) { return std::exp(12.0f * x); }},
    {"sorted", [](float, Index j) { return static_cast<float>(j); }},
    // A sample in equal steps sees what is rare, or nothing of it.
    {"periodic", [](float x, Index j) { return j % 8 == 0 ? 100.0f : x; }},
    {"with infinities",
     [](float x, Index) { return x > 0.5f ? std::numeric_limits<float>::infinity() : x; }},
    {"negative, with infinities",
     [](float x, Index) { return x < 0.5f ? -std::numeric_limits<float>::infinity() : x; }},
    {"denormal", [](float x, Index) { return 1e-41f * x; }},
};

/// What of a row-major matrix goes, by sorting.
std::vector<bool> removed_by_sorting(const Matrix<float>& m, Index count) {
  std::vector<Index> order(static_cast<std::size_t>(m.size()));
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](Index a, Index b) { return m.data()[a] < m.data()[b]; });
  std::vector<bool> removed(order.size());
  for (Index k = 0; k < count; ++k)
    removed[static_cast<std::size_t>(order[static_cast<std::size_t>(k)])] = true;
  return removed;
}

}  // namespace

TEST_CASE("the smallest values are those that sorting finds, whatever their distribution") {
  const kernels::RankKernel kernel = kernels::select_rank_kernel();
  for (const auto& [name, value] : values_cases)
    for (const Shape<2>& shape : {Shape<2>{1, 1}, {1, 200}, {1, 3000}, {3, 77}, {70, 130}}) {
      const Index rows = shape[0], cols = shape[1];
      Matrix<float> m = test::random_matrix(rows, cols, 3);
      for (Index k = 0; k < m.size(); ++k) m.data()[k] = value(m.data()[k], k);
      const Index n = m.size();
      for (const Index count : {Index{1}, (n + 1) / 2, n - n / 8, n}) {
        CAPTURE(name, rows, cols, count);
        const std::vector<bool> expected = removed_by_sorting(m, count);
        const auto check = [&](const Mask& mask) {
          for (Index i = 0; i < rows; ++i)
            for (Index j = 0; j < cols; ++j)
              REQUIRE(mask(i, j) != expected[static_cast<std::size_t>(i * cols + j)]);
        };
        Mask mask(rows, cols);
        detail::for_each_row_of_smallest(
            kernel, m, count, [&](Index i, detail::SmallestValues smallest) {
              detail::write_bits_from(kernel, &m(i, 0), cols, smallest, i, 0, mask);
            });
        check(mask);
        if (rows != 1) continue;
        detail::SmallestValues smallest = detail::smallest_of_row(kernel, m.data(), cols, count);
        Mask row(1, cols), taken(1, cols);
        detail::SmallestValues asked = smallest;
        for (Index j = 0; j < cols; ++j) taken.set(0, j, !asked.take(m(0, j)));
        check(taken);
        detail::write_bits_from(kernel, m.data(), cols, smallest, 0, 0, row);
        check(row);
      }
    }
}
