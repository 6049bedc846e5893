#include "pare/core/tensor.hpp"

#include <cstdint>
#include <limits>
#include <new>
#include <numeric>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>

#include "support/catch.hpp"

using namespace pare;

TEST_CASE("a tensor is zeroed, row-major and aligned to 64 bytes", "[core]") {
  for (const Index cols : {1, 3, 17, 33}) {
    const Matrix<float> m({5, cols});
    CHECK(reinterpret_cast<std::uintptr_t>(m.data()) % tensor_alignment_bytes == 0);
    CHECK(m.view().is_contiguous());
    for (Index i = 0; i < m.size(); ++i) REQUIRE(m.data()[i] == 0.0f);
  }
}

TEST_CASE("a tensor of huge pages is zeroed, can be written to the end, copied and moved",
          "[core]") {
  Vector<float> v({(Index{32} << 18) + 5});
  REQUIRE(v[v.size() - 1] == 0.0f);
  v[v.size() - 1] = 1.0f;
  Vector<float> copied = v, moved = std::move(v);
  CHECK(copied == moved);
  copied = Vector<float>({3});
  CHECK(moved[moved.size() - 1] == 1.0f);
}

TEST_CASE("tensors without elements keep their shape", "[core]") {
  const Matrix<float> no_rows({0, 7}), nothing;
  CHECK(no_rows.empty());
  CHECK(no_rows.cols() == 7);
  CHECK(nothing.shape() == Shape<2>{0, 0});
  CHECK_FALSE(no_rows == nothing);
}

TEST_CASE("a copied tensor owns its elements", "[core]") {
  Matrix<int> a({2, 2});
  a.fill(3);
  Matrix<int> b = a;
  CHECK(a == b);
  b(1, 1) = 4;
  CHECK(a(1, 1) == 3);
}

TEST_CASE("a tensor moved from is empty and its extents are zero", "[core]") {
  Matrix<int> a({2, 3});
  a.fill(3);
  const int* memory = a.data();
  Matrix<int> b = std::move(a);
  CHECK(b.shape() == Shape<2>{2, 3});
  CHECK(b.data() == memory);
  CHECK(a.view().empty());
  CHECK(a == Matrix<int>());

  Matrix<int> c({5, 7});
  c = std::move(b);
  CHECK(c.data() == memory);
  CHECK(b == Matrix<int>());
  b = Matrix<int>({1, 2});
  CHECK(b.shape() == Shape<2>{1, 2});

  Matrix<int>& same = c;
  c = std::move(same);
  CHECK(c.shape() == Shape<2>{2, 3});
  CHECK(c(1, 2) == 3);
}

TEST_CASE("a tensor made from a view converts and compacts it", "[core]") {
  Matrix<int> source({2, 3});
  for (Index i = 0; i < 6; ++i) source.data()[i] = static_cast<int>(i);
  const Matrix<float> turned(source.view().transposed());
  CHECK(turned.shape() == Shape<2>{3, 2});
  CHECK(turned(2, 1) == 5.0f);
  CHECK(turned.view().is_contiguous());
}

TEST_CASE("tensors of rank 0, 1 and 3 are indexed like views", "[core]") {
  Tensor<float, 0> scalar(Shape<0>{});
  scalar() = 2.0f;
  CHECK(scalar.size() == 1);
  Vector<float> v({3});
  v[2] = 5.0f;
  CHECK(v(2) == 5.0f);
  Tensor<float, 3> cube({2, 3, 4});
  cube(1, 2, 3) = 6.0f;
  CHECK(cube.row(1).row(2)[3] == 6.0f);
  CHECK(cube.extent(2) == 4);
}

TEST_CASE("tensors are ranges of their elements in memory order", "[core]") {
  Matrix<int> m({2, 3});
  std::iota(m.begin(), m.end(), 1);
  CHECK(m(1, 2) == 6);
  for (int& value : m) value *= 10;
  const Matrix<int>& constant = m;
  CHECK(std::accumulate(constant.begin(), constant.end(), 0) == 210);
  m.span()[3] = 7;
  CHECK(m(1, 0) == 7);
  CHECK(constant.span().size() == 6);
  static_assert(std::is_same_v<decltype(constant.span()), std::span<const int>>);
  static_assert(std::ranges::contiguous_range<Matrix<int>>);
  CHECK(Matrix<int>().span().empty());
}

TEST_CASE("impossible tensor shapes are refused", "[core]") {
  constexpr Index huge = std::numeric_limits<Index>::max();
  CHECK_THROWS_AS(Matrix<float>({-1, 2}), ShapeError);
  CHECK_THROWS_AS(Matrix<float>({huge, huge}), ShapeError);
  // Fits the index type but not the address space: the standard library says so.
  CHECK_THROWS(Matrix<double>({huge, 1}));
  CHECK_THROWS_AS(AlignedAllocator<double>().allocate(std::size_t(-1) / 4),
                  std::bad_array_new_length);
}
