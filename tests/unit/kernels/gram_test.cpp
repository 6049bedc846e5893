#include "pare/kernels/gram.hpp"

#include <cmath>
#include <limits>

#include "pare/core/parallel_openmp.hpp"
#include "pare/core/random.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

Matrix<float> random_tokens(Index tokens, Index n, std::uint64_t seed) {
  Random random(seed);
  Matrix<float> x({tokens, n});
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = random.uniform(-1.0f, 1.0f);
  return x;
}

Matrix<double> exact_gram(MatrixView<const float> x) {
  Matrix<double> h({x.cols(), x.cols()});
  for (Index t = 0; t < x.rows(); ++t)
    for (Index i = 0; i < x.cols(); ++i)
      for (Index j = 0; j < x.cols(); ++j) h(i, j) += static_cast<double>(x(t, i)) * x(t, j);
  return h;
}

/// Float sums of at most 256 products below 1, added exactly but for double rounding.
double gram_tolerance(Index tokens) {
  return static_cast<double>(tokens) * 256 * 0.5 * std::numeric_limits<float>::epsilon();
}

}  // namespace

TEST_CASE("gram adds all products of columns for every kernel and ragged shapes") {
  const Index shapes[][2] = {{1, 1}, {3, 17}, {256, 33}, {257, 65}, {600, 3}, {5, 300}, {40, 520}};
  for (const auto& [tokens, n] : shapes) {
    const Matrix<float> x = random_tokens(tokens, n, 1);
    const Matrix<double> exact = exact_gram(x);
    for (const KernelName kernel :
         {KernelName::reference, KernelName::portable, KernelName::avx2, KernelName::avx512}) {
      if (!kernels::cpu_supports(kernel)) continue;
      Matrix<double> h({n, n});
      h.fill(0.25);
      gram(x, h, {.force = kernel});
      INFO(to_string(kernel) << " " << tokens << " tokens of " << n);
      double worst = 0.0;
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < n; ++j)
          worst = std::max(worst, std::fabs(h(i, j) - 0.25 - exact(i, j)));
      CHECK(worst <= gram_tolerance(tokens));
      CHECK(Matrix<double>(h.view().transposed()) == h);
    }
  }
}

TEST_CASE("gram reads and writes strided views") {
  const Matrix<float> memory = random_tokens(70, 4 * 40, 2);
  const MatrixView<const float> x(memory.data(), {70, 40}, {160, 3});
  const Matrix<float> dense(x);
  Matrix<double> expected({40, 40}), wide({40, 90}), from_columns({40, 40});
  gram(dense, expected);
  const MatrixView<double> h(wide.data(), {40, 40}, {90, 2});
  gram(x, h);
  CHECK(Matrix<double>(h) == expected);
  const Matrix<float> columns(dense.view().transposed());
  gram(columns.view().transposed(), from_columns);
  CHECK(from_columns == expected);
}

TEST_CASE("gram keeps small terms beside large sums") {
  // Summed in float32 alone, the ones after 2^24 would be lost.
  Matrix<float> x({2000, 1});
  x.fill(1.0f);
  x(0, 0) = 4096.0f;
  Matrix<double> h({1, 1});
  gram(x, h);
  CHECK(h(0, 0) >= 16777216.0 + 1999.0 - 256.0);
}

TEST_CASE("gram does not depend on the number of threads") {
  const Matrix<float> x = random_tokens(300, 600, 3);
  Matrix<double> serial({600, 600});
  gram(x, serial);
  for (const int threads : {1, 2, 3}) {
    Matrix<double> h({600, 600});
    gram(x, h, {.parallel_for = OpenMpFor(threads)});
    CHECK(h == serial);
  }
}

TEST_CASE("gram of no token adds nothing, and shapes that do not fit are refused") {
  Matrix<double> h({3, 3});
  h.fill(1.0);
  gram(Matrix<float>({0, 3}), h);
  CHECK(h(2, 1) == 1.0);
  Matrix<double> wrong({3, 4});
  CHECK_THROWS_AS(gram(Matrix<float>({2, 3}), wrong), ShapeError);
  CHECK_THROWS_AS(gram(Matrix<float>({2, 4}), h), ShapeError);
  CHECK_THROWS_AS(mirror_upper(wrong), ShapeError);
}
