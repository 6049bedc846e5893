#include "pare/solvers/obs_sweep.hpp"

#include <cmath>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/formats/rounding.hpp"
#include "pare/kernels/gram.hpp"
#include "pare/solvers/inverse_factor.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"
#include "support/tolerance.hpp"

using namespace pare;

namespace {

/// Keeps the nearest multiple of `step`.
struct RoundToStep {
  float step = 0.5f;

  void begin_block(MatrixView<const float>, Index, Index, const Execution&) {}
  void keep(Index, Index, Index rows, const float* values, float* kept) const {
    for (Index l = 0; l < rows; ++l) kept[l] = round_half_even(values[l] / step) * step;
  }
};

/// Zeroes the smaller of every two neighbouring weights, as updated when the first is visited.
struct HalveColumns {
  std::vector<char> drop_second;

  void begin_block(MatrixView<const float> w, Index, Index, const Execution&) {
    drop_second.resize(static_cast<std::size_t>(w.rows()));
  }
  void keep(Index column, Index row, Index rows, const float* values, float* kept) {
    for (Index l = 0; l < rows; ++l) {
      char& drop = drop_second[static_cast<std::size_t>(row + l)];
      if (column % 2 == 0) drop = std::fabs(values[l]) >= std::fabs(values[lane_count + l]);
      kept[l] = (column % 2 == 1) == (drop != 0) ? 0.0f : values[l];
    }
  }
};

/// Records the weights that each block starts from and changes nothing.
struct Recorder {
  std::vector<Matrix<float>> seen;
  std::vector<Index> begins;

  void begin_block(MatrixView<const float> w, Index begin, Index, const Execution&) {
    seen.emplace_back(w);
    begins.push_back(begin);
  }
  void keep(Index column, Index, Index rows, const float* values, float* kept) const {
    for (Index l = 0; l < rows; ++l) kept[l] = column == 0 ? 0.0f : values[l];
  }
};

Matrix<float> random_factor(Index n, std::uint64_t seed = 9) {
  const Matrix<float> x = test::random_matrix(2 * n + 1, n, seed);
  Matrix<double> h({n, n});
  gram(x, h);
  return inverse_factor(h).upper;
}

/// The sweep as its equation is written, one column after the other, in double.
Matrix<float> plain_sweep(MatrixView<const float> w, const Matrix<float>& upper,
                          const RoundToStep& rule, double& loss) {
  Matrix<double> values(w);
  Matrix<float> result({w.rows(), w.cols()});
  loss = 0.0;
  for (Index i = 0; i < w.rows(); ++i)
    for (Index c = 0; c < w.cols(); ++c) {
      const float value = static_cast<float>(values(i, c));
      rule.keep(c, i, 1, &value, &result(i, c));
      const double e = (values(i, c) - static_cast<double>(result(i, c))) / upper(c, c);
      for (Index j = c; j < w.cols(); ++j) values(i, j) -= e * static_cast<double>(upper(c, j));
      loss += e * e;
    }
  return result;
}

}  // namespace

TEST_CASE("the blocked sweep is the plain one for ragged rows, columns and blocks") {
  for (const Index rows : {0, 1, 3, 16, 17, 33})
    for (const Index cols : {1, 3, 17, 64, 129}) {
      const Matrix<float> w = test::random_matrix(rows, cols, 4);
      const Matrix<float> upper = random_factor(cols);
      double expected_loss = 0.0;
      const Matrix<float> expected = plain_sweep(w, upper, {}, expected_loss);
      for (const Index block : {1, 16, 128, 1000}) {
        CAPTURE(rows, cols, block);
        Matrix<float> swept = w;
        RoundToStep rule;
        CHECK(obs_sweep(swept, upper, rule, {.block_size = block}) ==
              Approx(expected_loss).epsilon(1e-3));
        // A value within float rounding of a tie may go the other way and move its row.
        Index differing = 0;
        for (Index i = 0; i < rows; ++i)
          differing += test::max_difference(swept.view().slice(0, i, 1),
                                            expected.view().slice(0, i, 1)) > 0.0;
        CHECK(differing <= 1);
      }
    }
}

TEST_CASE("every kernel sweeps alike") {
  const Matrix<float> w = test::random_matrix(33, 70, 4), upper = random_factor(70);
  double expected_loss = 0.0;
  (void)plain_sweep(w, upper, {}, expected_loss);
  for (const KernelName kernel : {KernelName::reference, KernelName::avx512}) {
    if (!kernels::cpu_supports(kernel)) continue;
    Matrix<float> swept = w;
    RoundToStep rule;
    CHECK(obs_sweep(swept, upper, rule, {.block_size = 32}, {.force = kernel}) ==
          Approx(expected_loss).epsilon(1e-3));
  }
}

TEST_CASE("a rule can look at later columns of the block: two to one sparsity") {
  const Index rows = 19, cols = 40;
  const Matrix<float> w = test::random_matrix(rows, cols, 1), upper = random_factor(cols);
  Matrix<float> swept = w;
  HalveColumns rule;
  obs_sweep(swept, upper, rule, {.block_size = 8});
  for (Index i = 0; i < rows; ++i)
    for (Index c = 0; c < cols; c += 2) CHECK((swept(i, c) == 0.0f) != (swept(i, c + 1) == 0.0f));
}

TEST_CASE("rules see each block as previous blocks left it") {
  const Index cols = 10;
  const Matrix<float> w = test::random_matrix(2, cols, 1), upper = random_factor(cols);
  Matrix<float> swept = w;
  Recorder rule;
  obs_sweep(swept, upper, rule, {.block_size = 4});
  REQUIRE(rule.begins == std::vector<Index>{0, 4, 8});
  CHECK(rule.seen[0] == w);
  for (Index i = 0; i < 2; ++i) {
    const float e = w(i, 0) / upper(0, 0);
    for (Index c = 1; c < cols; ++c) {
      CHECK(rule.seen[1](i, c) == Approx(w(i, c) - e * upper(0, c)).margin(1e-6));
      CHECK(swept(i, c) == rule.seen[1](i, c));
    }
    CHECK(swept(i, 0) == 0.0f);
  }
}

TEST_CASE("the sweep gives the same bits for any number of threads and any strides") {
  const Matrix<float> w = test::random_matrix(50, 200, 4), upper = random_factor(200);
  Matrix<float> serial = w;
  RoundToStep rule{0.1f};
  const double loss = obs_sweep(serial, upper, rule, {.block_size = 64});
  for (const int threads : {1, 2, 3}) {
    Matrix<float> swept = w;
    CHECK(obs_sweep(swept, upper, rule, {.block_size = 64}, {.parallel_for = OpenMpFor(threads)}) ==
          loss);
    CHECK(swept == serial);
  }
  test::Strided<float> strided(w);
  CHECK(obs_sweep(strided.view(), upper, rule, {.block_size = 64}) == loss);
  CHECK(test::bit_differences(strided.view(), serial) == 0);
}

TEST_CASE("the sweep refuses a factor of another size and empty blocks") {
  Matrix<float> w = test::random_matrix(2, 5);
  RoundToStep rule;
  CHECK_THROWS_AS(obs_sweep(w, random_factor(4), rule), ShapeError);
  CHECK_THROWS_AS(obs_sweep(w, random_factor(5), rule, {.block_size = 0}), ArgumentError);
}
