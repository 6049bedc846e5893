#pragma once

#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "pare/core/random.hpp"
#include "pare/formats/quantized_matrix.hpp"

namespace pare::test {

/// A scale as other tools' files may hold it: magnitudes in [0.5, 1.5), one of four negative, one
/// of sixteen zero.
[[nodiscard]] inline float random_scale(ScaleType type, Random& random) {
  const float magnitude = store_scale(random.uniform(0.5f, 1.5f), type);
  const std::uint32_t kind = random.below(16);
  return kind == 0 ? 0.0f : kind <= 4 ? -magnitude : magnitude;
}

/// Any codes, scales and zero points: more than a quantizer would give.
template <Format F>
QuantizedMatrix<F> random_quantized(Index rows, Index cols, Index group_size, ScaleType scale_type,
                                    Random& random) {
  QuantizedMatrix<F> q(rows, cols, group_size, scale_type);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j)
      q.codes()(i, j) =
          from_stored<F>(static_cast<std::uint8_t>(random.below(std::uint32_t{code_count<F>()})));
    for (Index g = 0; g < q.groups(); ++g) {
      q.parameters()(i, g).scale = random_scale(scale_type, random);
      F::set_zero_point(q.parameters()(i, g), static_cast<int>(random.below(1u << F::code_bits)));
    }
  }
  return q;
}

/// Deals the columns to the groups at random.
template <Format F>
void shuffle_groups(QuantizedMatrix<F>& q, Random& random) {
  std::vector<std::int32_t> index(static_cast<std::size_t>(q.cols()));
  for (Index j = 0; j < q.cols(); ++j)
    index[static_cast<std::size_t>(j)] = static_cast<std::int32_t>(j / q.group_length());
  for (std::size_t j = index.size(); j > 1; --j)
    std::swap(index[j - 1], index[random.below(static_cast<std::uint32_t>(j))]);
  q.set_group_index(index);
}

}  // namespace pare::test
