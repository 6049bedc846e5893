#include "pare/core/eigen.hpp"

#include <type_traits>
#include <vector>

#include "support/catch.hpp"

using namespace pare;

namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ColumnMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor>;

}  // namespace

TEMPLATE_TEST_CASE("a view of an Eigen matrix shares its memory in either storage order", "[core]",
                   RowMajor, ColumnMajor) {
  TestType m(3, 5);
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 5; ++j) m(i, j) = static_cast<float>(10 * i + j);
  const MatrixView<float> view = matrix_view(m);
  CHECK(view.shape() == Shape<2>{3, 5});
  CHECK(view(2, 4) == 24.0f);
  view(0, 1) = -1.0f;
  CHECK(m(0, 1) == -1.0f);

  const auto block = matrix_view(m.block(1, 2, 2, 3));
  CHECK(block.shape() == Shape<2>{2, 3});
  CHECK(block(1, 2) == 24.0f);

  const TestType& read_only = m;
  static_assert(std::is_same_v<decltype(matrix_view(read_only)), MatrixView<const float>>);
  CHECK(matrix_view(read_only).data() == m.data());
}

TEST_CASE("an Eigen vector is a matrix with one column", "[core]") {
  Eigen::VectorXf v = Eigen::VectorXf::LinSpaced(4, 0.0f, 3.0f);
  CHECK(matrix_view(v).shape() == Shape<2>{4, 1});
  CHECK(matrix_view(v)(3, 0) == 3.0f);
}

TEST_CASE("a view with any strides becomes an Eigen map of the same memory", "[core]") {
  std::vector<float> memory(24);
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(i);
  const MatrixView<float> view(memory.data(), {3, 2}, {8, 3});
  CHECK(eigen_map(view)(2, 1) == 19.0f);
  CHECK(eigen_map(view.transposed())(1, 2) == 19.0f);
  eigen_map(view)(0, 0) = 7.0f;
  CHECK(memory[0] == 7.0f);
  const MatrixView<const float> read_only = view;
  CHECK(eigen_map(read_only).sum() == 7.0f + 3 + 8 + 11 + 16 + 19);
}
