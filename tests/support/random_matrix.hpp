#pragma once

#include <cstdint>
#include <limits>

#include "pare/core/random.hpp"
#include "pare/core/tensor.hpp"

namespace pare::test {

/// Normal numbers, the same on every platform (up to the last bit of libm's logarithm).
[[nodiscard]] inline Matrix<float> random_matrix(Index rows, Index cols, std::uint64_t seed = 1,
                                                 float deviation = 1.0f) {
  Random random(seed);
  Matrix<float> m({rows, cols});
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = deviation * random.normal();
  return m;
}

/// Whole numbers in [lo, hi]: sums and products of few of them are exact in float.
[[nodiscard]] inline Matrix<float> random_integers(Index rows, Index cols, int lo, int hi,
                                                   std::uint64_t seed = 1) {
  Random random(seed);
  Matrix<float> m({rows, cols});
  for (Index i = 0; i < m.size(); ++i)
    m.data()[i] = static_cast<float>(
        lo + static_cast<int>(random.below(static_cast<std::uint32_t>(hi - lo + 1))));
  return m;
}

/// A copy of a matrix in memory with gaps, to test strided views: every row and every element is
/// followed by NaN, which no function may read.
template <class T>
class Strided {
 public:
  explicit Strided(MatrixView<const T> source)
      : memory_({source.rows(), 2 * source.cols() + 3}), cols_(source.cols()) {
    memory_.fill(std::numeric_limits<T>::quiet_NaN());
    copy(source, view());
  }
  [[nodiscard]] MatrixView<T> view() { return {memory_.data(), shape(), strides()}; }
  [[nodiscard]] MatrixView<const T> view() const { return {memory_.data(), shape(), strides()}; }

 private:
  [[nodiscard]] Shape<2> shape() const { return {memory_.rows(), cols_}; }
  [[nodiscard]] Shape<2> strides() const { return {memory_.cols(), 2}; }

  Matrix<T> memory_;
  Index cols_;
};

}  // namespace pare::test
