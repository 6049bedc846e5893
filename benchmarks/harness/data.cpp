#include "harness/data.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "pare/core/random.hpp"

namespace bench {
namespace {

using pare::Index;
using pare::Matrix;

/// Rows are windows of one block of random numbers: as good for timing, and made in no time.
Matrix<float> random_matrix(Index rows, Index cols, float deviation, std::uint64_t seed) {
  constexpr Index shift = 7919;  // prime: windows begin anywhere
  const Index size = std::max(Index{1} << 20, 2 * cols);
  pare::Vector<float> block({size});
  pare::Random random(seed);
  for (Index i = 0; i < size; ++i) block[i] = deviation * random.normal();
  Matrix<float> m({rows, cols});
  for (Index i = 0; i < rows; ++i)
    std::copy_n(block.data() + i * shift % (size - cols), cols, m.data() + i * cols);
  return m;
}

const Matrix<float>& kept(std::map<std::pair<Index, Index>, Matrix<float>>& all, Index rows,
                          Index cols, float deviation, std::uint64_t seed) {
  const auto [place, is_new] = all.try_emplace({rows, cols});
  if (is_new) place->second = random_matrix(rows, cols, deviation, seed);
  return place->second;
}

}  // namespace

const Matrix<float>& random_weights(Index out, Index in) {
  static std::map<std::pair<Index, Index>, Matrix<float>> all;
  return kept(all, out, in, 0.02f, 1);
}

const Matrix<float>& random_activations(Index tokens, Index in) {
  static std::map<std::pair<Index, Index>, Matrix<float>> all;
  return kept(all, tokens, in, 1.0f, 2);
}

}  // namespace bench
