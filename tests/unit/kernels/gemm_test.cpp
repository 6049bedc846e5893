#include "pare/kernels/gemm.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/core/random.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

std::vector<KernelName> kernels_here() {
  std::vector<KernelName> names;
  for (const KernelName name :
       {KernelName::reference, KernelName::portable, KernelName::avx2, KernelName::avx512})
    if (kernels::cpu_supports(name)) names.push_back(name);
  return names;
}

template <class T>
Matrix<T> random_matrix(Index rows, Index cols, std::uint64_t seed) {
  Random random(seed);
  Matrix<T> m({rows, cols});
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = static_cast<T>(random.uniform(-1.0f, 1.0f));
  return m;
}

/// c + alpha a b in long double.
template <class T>
Matrix<double> plain_product(T alpha, MatrixView<const T> a, MatrixView<const T> b,
                             MatrixView<const T> c) {
  Matrix<double> result({a.rows(), b.cols()});
  for (Index i = 0; i < a.rows(); ++i)
    for (Index j = 0; j < b.cols(); ++j) {
      long double sum = 0;
      for (Index k = 0; k < a.cols(); ++k) sum += static_cast<long double>(a(i, k)) * b(k, j);
      result(i, j) = static_cast<double>(c(i, j) + alpha * sum);
    }
  return result;
}

/// A view of a matrix that holds `rows` x `cols` random values in one of four layouts.
enum class Layout { row_major, column_major, padded, strided };

template <class T>
struct Operand {
  Matrix<T> memory;
  MatrixView<T> view;

  Operand(Index rows, Index cols, Layout layout, std::uint64_t seed) {
    const bool transposed = layout == Layout::column_major;
    const Index gap = layout == Layout::strided ? 3 : 1;
    memory = random_matrix<T>(transposed ? cols : rows,
                              (transposed ? rows : cols) * gap + (layout == Layout::padded ? 5 : 0),
                              seed);
    view = transposed ? memory.view().transposed()
                      : MatrixView<T>(memory.data(), {rows, cols}, {memory.cols(), gap});
  }
};

template <class T>
void check_product(Index m, Index n, Index k, Layout a_layout, Layout b_layout, Layout c_layout,
                   KernelName kernel) {
  const T alpha = T(-0.75);
  const Operand<T> a(m, k, a_layout, 1), b(k, n, b_layout, 2);
  Operand<T> c(m, n, c_layout, 3);
  const Matrix<T> before = c.memory;
  const Matrix<double> expected = plain_product<T>(alpha, a.view, b.view, c.view);
  gemm(alpha, a.view, b.view, c.view, {.force = kernel});
  // |a|, |b|, |c| <= 1: k products and sums of at most k, each rounded once or twice.
  const double tolerance =
      static_cast<double>(2 * k + 4) * std::numeric_limits<T>::epsilon() * 0.5 * 2.0;
  double worst = 0.0;
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < n; ++j)
      worst = std::max(worst, std::fabs(static_cast<double>(c.view(i, j)) - expected(i, j)));
  INFO(to_string(kernel) << " " << m << " x " << n << " x " << k);
  CHECK(worst <= tolerance);
  // Nothing outside the view may change.
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < n; ++j) c.view(i, j) = 0;
  Matrix<T> rest = before;
  const MatrixView<T> hole(rest.data(), {m, n}, c.view.strides());
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < n; ++j) hole(i, j) = 0;
  CHECK(rest == c.memory);
}

}  // namespace

TEMPLATE_TEST_CASE("gemm equals a plain product for ragged shapes", "", float, double) {
  const Index shapes[][3] = {{1, 1, 1},    {1, 33, 3},     {3, 17, 129}, {17, 1, 33},
                             {5, 32, 257}, {14, 65, 8},    {13, 31, 16}, {33, 49, 130},
                             {7, 3, 600},  {300, 270, 20}, {270, 2, 9}};
  for (const KernelName kernel : kernels_here())
    for (const auto& [m, n, k] : shapes)
      check_product<TestType>(m, n, k, Layout::row_major, Layout::row_major, Layout::row_major,
                              kernel);
}

TEMPLATE_TEST_CASE("gemm accepts every combination of layouts", "", float, double) {
  const Layout layouts[] = {Layout::row_major, Layout::column_major, Layout::padded,
                            Layout::strided};
  for (const KernelName kernel : kernels_here())
    for (const Layout a : layouts)
      for (const Layout b : layouts)
        for (const Layout c : layouts) {
          check_product<TestType>(19, 37, 21, a, b, c, kernel);
          check_product<TestType>(40, 3, 5, a, b, c, kernel);
        }
}

TEMPLATE_TEST_CASE("an element of gemm has the same bits for any m, n and layout", "", float,
                   double) {
  const Index m = 301, n = 290, k = 700;
  const auto a = random_matrix<TestType>(m, k, 1), w = random_matrix<TestType>(n, k, 2);
  const Matrix<TestType> b(w.view().transposed());
  for (const KernelName kernel : kernels_here()) {
    const Execution execution{.force = kernel};
    Matrix<TestType> whole({m, n});
    gemm(TestType(1), a.view(), w.view().transposed(), whole.view(), execution);
    for (const Index tokens : {1, 2, 5, 30})
      for (const Index outputs : {1, 40}) {
        Matrix<TestType> part({tokens, outputs});
        gemm(TestType(1), a.view().slice(0, 7, tokens), b.view().slice(1, 9, outputs), part.view(),
             execution);
        const Matrix<TestType> expected(whole.view().slice(0, 7, tokens).slice(1, 9, outputs));
        CHECK(part == expected);
      }
  }
}

TEMPLATE_TEST_CASE("gemm does not depend on the number of threads", "", float, double) {
  const auto a = random_matrix<TestType>(530, 300, 1), b = random_matrix<TestType>(300, 515, 2);
  for (const KernelName kernel : kernels_here()) {
    Matrix<TestType> serial({530, 515});
    gemm(TestType(2), a.view(), b.view(), serial.view(), {.force = kernel});
    for (const int threads : {2, 3}) {
      Matrix<TestType> parallel({530, 515});
      gemm(TestType(2), a.view(), b.view(), parallel.view(),
           {.parallel_for = OpenMpFor(threads), .force = kernel});
      CHECK(parallel == serial);
    }
  }
}

TEMPLATE_TEST_CASE("products of triangles are those of whole matrices", "", float, double) {
  // Past one block of rows, of columns and of terms.
  const Index m = 150, n = 600, k = 300;
  const auto triangle = [&](bool upper, std::uint64_t seed) {
    auto square = random_matrix<TestType>(k, k, seed);
    for (Index i = 0; i < k; ++i)
      for (Index j = 0; j < k; ++j)
        if (upper ? j < i : j > i) square(i, j) = 0;
    return square;
  };
  const auto low = random_matrix<TestType>(m, k, 1), narrow = random_matrix<TestType>(k, n, 2),
             wide = random_matrix<TestType>(n, k, 5);
  const auto upper = triangle(true, 3), lower = triangle(false, 4);
  struct Case {
    const char* name;
    const Matrix<TestType>&a, &b;
    kernels::GemmParts parts;
  };
  const Case cases[] = {{"a upper", upper, narrow, {.a_upper = true}},
                        {"a lower", lower, narrow, {.a_lower = true}},
                        {"b upper", low, upper, {.b_upper = true}},
                        {"b lower", low, lower, {.b_lower = true}},
                        {"a upper, b lower", upper, lower, {.a_upper = true, .b_lower = true}},
                        {"a lower, b upper", lower, upper, {.a_lower = true, .b_upper = true}},
                        {"upper half of c", wide, narrow, {.c_upper = true}}};
  for (const KernelName name : kernels_here()) {
    const auto kernel = kernels::select_gemm_kernel<TestType>(name);
    for (const Case& test : cases) {
      CAPTURE(to_string(name), test.name);
      const Index rows = test.a.rows(), cols = test.b.cols();
      Matrix<TestType> whole({rows, cols}), skipped({rows, cols}), threaded({rows, cols});
      gemm(TestType(-1), test.a.view(), test.b.view(), whole.view(), {.force = name});
      kernels::gemm_blocks<TestType>(kernel, -1, test.a, test.b, skipped, test.parts, {});
      kernels::gemm_blocks<TestType>(kernel, -1, test.a, test.b, threaded, test.parts,
                                     OpenMpFor(2));
      CHECK(threaded == skipped);
      Index differing = 0, touched = 0;
      for (Index i = 0; i < rows; ++i)
        for (Index j = 0; j < cols; ++j) {
          if (test.parts.c_upper && j < i)
            touched += skipped(i, j) != 0;
          else
            differing += skipped(i, j) != whole(i, j);
        }
      CHECK(differing == 0);
      // Blocks that cross the diagonal are computed as a whole, those below are not.
      CHECK(touched < rows * kernels::gemm_block_cols);
    }
  }
}

TEST_CASE("a product skips what it is told is zero") {
  const Index n = 900;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Matrix<float> poisoned({n, n}), ones({n, n}), c({n, n});
  ones.fill(1.0f);
  poisoned.fill(1.0f);
  // Far below the diagonal: no block that crosses it holds these.
  for (Index i = 600; i < n; ++i)
    for (Index j = 0; j < 200; ++j) poisoned(i, j) = nan;
  const auto kernel = kernels::select_gemm_kernel<float>(KernelName::automatic);
  kernels::gemm_blocks<float>(kernel, 1, poisoned, ones, c, {.a_upper = true}, {});
  CHECK(!std::isnan(c(n - 1, 0)));
  c.fill(0.0f);
  kernels::gemm_blocks<float>(kernel, 1, ones, poisoned, c, {.b_upper = true}, {});
  CHECK(!std::isnan(c(0, 0)));
  c.fill(0.0f);
  kernels::gemm_blocks<float>(kernel, 1, ones, poisoned.view().transposed(), c, {.b_lower = true},
                              {});
  CHECK(!std::isnan(c(0, n - 1)));
}

TEST_CASE("gemm with an empty dimension changes nothing") {
  const Matrix<float> a({0, 4}), b({4, 3}), wide({2, 0}), flat({0, 3});
  Matrix<float> none({0, 3}), c({2, 3});
  c.fill(5.0f);
  const Matrix<float> before = c;
  gemm(1.0f, a.view(), b.view(), none.view());
  gemm(1.0f, wide.view(), flat.view(), c.view());
  CHECK(c == before);
}

TEST_CASE("gemm propagates NaN and infinity to their rows and columns only") {
  for (const KernelName kernel : kernels_here()) {
    Matrix<float> a({3, 40}), b({40, 5}), c({3, 5});
    a.fill(1.0f);
    b.fill(1.0f);
    a(1, 7) = std::numeric_limits<float>::quiet_NaN();
    b(2, 4) = std::numeric_limits<float>::infinity();
    gemm(1.0f, a.view(), b.view(), c.view(), {.force = kernel});
    CHECK(c(0, 0) == 40.0f);
    CHECK(std::isnan(c(1, 0)));
    CHECK(std::isinf(c(2, 4)));
  }
}

TEST_CASE("gemm refuses shapes that do not fit and kernels that do not exist") {
  const Matrix<float> a({2, 3}), b({4, 5});
  Matrix<float> c({2, 5});
  CHECK_THROWS_AS(gemm(1.0f, a.view(), b.view(), c.view()), ShapeError);
  CHECK_THROWS_WITH(gemm(1.0f, a.view(), b.view().slice(0, 0, 3), c.view().slice(1, 0, 4)),
                    Catch::Contains("[2, 3]") && Catch::Contains("[2, 4]"));
  CHECK_THROWS_AS(
      gemm(1.0f, a.view(), b.view().slice(0, 0, 3), c.view(), {.force = KernelName::avx512vnni}),
      ArgumentError);
}
