#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "pare/formats/int.hpp"
#include "pare/kernels/layout/sparse_layout.hpp"
#include "support/random_quantized.hpp"

namespace pare::test {

/// A sparse weight and how many tokens meet it.
struct SparseCase {
  Index tokens, rows, cols, group_size;
  double density;
  ScaleType scale_type = ScaleType::f32;
  bool shuffled = false;
};
inline constexpr SparseCase sparse_cases[] = {{1, 1, 1, -1, 1.0},
                                              {1, 33, 259, -1, 0.5, ScaleType::f16},
                                              {2, 32, 64, -1, 0.0},
                                              {3, 17, 33, -1, 0.1},
                                              {5, 70, 515, -1, 0.5, ScaleType::bf16},
                                              {13, 31, 96, -1, 1.0},
                                              {17, 64, 1029, -1, 0.1},
                                              {1, 20, 100, 24, 0.5},
                                              {9, 40, 130, 32, 0.5, ScaleType::f16, true},
                                              {4, 18, 77, 7, 0.5, ScaleType::bf16, true},
                                              {2, 3, 45, 16, 0.5, ScaleType::f32, true},
                                              {0, 17, 8, -1, 0.5},
                                              {2, 0, 8, -1, 0.5},
                                              {3, 5, 0, -1, 0.5}};

/// Blocks of 32 x 4 are kept at random; in a layout without blocks, of each four kept two.
template <SparseLayout L>
QuantizedMatrix<Int<8>> random_sparse(const SparseCase& c, Random& random) {
  auto q = random_quantized<Int<8>>(c.rows, c.cols, c.group_size, c.scale_type, random);
  if (c.shuffled) shuffle_groups(q, random);
  const std::vector<std::int32_t> order = q.column_order();
  for (Index first = 0; first < c.rows; first += 32)
    for (Index g = 0; g < q.groups(); ++g) {
      const Index begin = g * q.group_length(), end = std::min(begin + q.group_length(), c.cols);
      for (Index k = begin; k < end; k += 4) {
        const bool keep = random.uniform(0.0f, 1.0f) < c.density;
        for (Index i = first; i < std::min(first + 32, c.rows); ++i) {
          const std::uint32_t one = random.below(4), other = random.below(4);
          for (Index j = k; j < std::min(k + 4, end); ++j)
            if (!keep || (!L::has_blocks && j - k != one && j - k != other))
              q.codes()(i, order.empty() ? j : order[static_cast<std::size_t>(j)]) = 0;
        }
      }
    }
  return q;
}

}  // namespace pare::test
