#include "pare/core/tensor_view.hpp"

#include <array>
#include <limits>
#include <numeric>
#include <span>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"

using namespace pare;

namespace {

static_assert(std::is_trivially_copyable_v<TensorView<float, 3>>);
static_assert(std::is_convertible_v<TensorView<float, 2>, TensorView<const float, 2>>);
static_assert(!std::is_convertible_v<TensorView<const float, 2>, TensorView<float, 2>>);
static_assert(!std::is_constructible_v<TensorView<float, 2>, TensorView<const float, 2>>);
static_assert(!std::is_convertible_v<TensorView<float, 2>, TensorView<double, 2>>);
static_assert(!std::is_convertible_v<TensorView<float, 1>, TensorView<float, 2>>);
static_assert(!std::is_constructible_v<VectorView<float>, const std::vector<float>&>);
static_assert(std::is_constructible_v<VectorView<const float>, const std::vector<float>&>);
static_assert(!std::is_constructible_v<VectorView<float>, std::vector<double>&>);

/// What std::mdspan offers, over memory stored by columns.
template <class T, std::size_t Rank>
struct ColumnMajorSpan {
  using element_type = T;
  using mapping_type = struct {};
  T* memory;
  std::array<std::size_t, Rank> extents;

  static constexpr std::size_t rank() { return Rank; }
  std::size_t extent(std::size_t d) const { return extents[d]; }
  std::size_t stride(std::size_t d) const {
    return std::accumulate(extents.begin(), extents.begin() + static_cast<std::ptrdiff_t>(d),
                           std::size_t{1}, [](std::size_t a, std::size_t b) { return a * b; });
  }
  T* data_handle() const { return memory; }
};

std::vector<int> numbers(int count) {
  std::vector<int> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

}  // namespace

TEST_CASE("a view of any rank reads row-major memory", "[core]") {
  std::vector<int> memory = numbers(120);

  const TensorView<int, 0> scalar(memory.data() + 7, {});
  CHECK(scalar() == 7);
  CHECK(scalar.size() == 1);
  CHECK(scalar.is_contiguous());

  const TensorView<int, 1> vector(memory, {5});
  CHECK(vector[4] == 4);
  CHECK(vector(4) == 4);

  const TensorView<int, 3> cube(memory, {2, 3, 4});
  CHECK(cube.strides() == Shape<3>{12, 4, 1});
  CHECK(cube(1, 2, 3) == 23);

  const TensorView<int, 4> four(memory, {2, 3, 4, 5});
  CHECK(four(1, 2, 3, 4) == 119);
  CHECK(four.size() == 120);
  four(1, 0, 0, 0) = -1;
  CHECK(memory[60] == -1);
}

TEST_CASE("a default view is empty", "[core]") {
  const MatrixView<float> view;
  CHECK(view.empty());
  CHECK(view.data() == nullptr);
  CHECK(view.is_contiguous());
}

TEST_CASE("vectors, spans, arrays and mdspans convert to views of the same memory", "[core]") {
  std::vector<float> vector{1, 2, 3};
  std::array<float, 3> array{4, 5, 6};
  float c_array[3] = {7, 8, 9};
  const std::span<float> span(vector);

  const auto sum = [](VectorView<const float> v) { return v[0] + v[1] + v[2]; };
  CHECK(sum(vector) == 6.0f);
  CHECK(sum(array) == 15.0f);
  CHECK(sum(c_array) == 24.0f);
  CHECK(sum(span) == 6.0f);
  CHECK(VectorView<float>(span).data() == vector.data());

  std::vector<int> memory = numbers(6);
  const TensorView<int, 2> by_columns(ColumnMajorSpan<int, 2>{memory.data(), {2, 3}});
  CHECK(by_columns.shape() == Shape<2>{2, 3});
  CHECK(by_columns(1, 0) == 1);
  CHECK(by_columns(0, 1) == 2);
  CHECK_FALSE(by_columns.is_contiguous());
  CHECK(by_columns.transposed().is_contiguous());

  const TensorView<const int, 3> read_only(ColumnMajorSpan<int, 3>{memory.data(), {1, 2, 3}});
  CHECK(read_only(0, 1, 2) == 5);
}

TEST_CASE("strides may be larger than the row, negative or zero", "[core]") {
  std::vector<int> memory = numbers(12);
  const MatrixView<int> every_other(memory.data(), {2, 2}, {6, 2});
  CHECK(every_other(1, 1) == 8);
  const VectorView<int> backwards(memory.data() + 11, {12}, {-1});
  CHECK(backwards[0] == 11);
  CHECK(backwards[11] == 0);
  const MatrixView<int> repeated(memory.data() + 3, {100, 2}, {0, 1});
  CHECK(repeated(99, 1) == 4);
  CHECK_FALSE(repeated.is_contiguous());
}

TEST_CASE("selecting, slicing and permuting change the window, not the memory", "[core]") {
  std::vector<int> memory = numbers(24);
  const TensorView<int, 3> cube(memory, {2, 3, 4});

  CHECK(cube.select(1, 2)(1, 3) == 23);
  CHECK(cube.select(2, 1).strides() == Shape<2>{12, 4});
  CHECK(cube.row(1).row(0)[2] == 14);
  CHECK(cube.row(1).row(0).select(0, 2)() == 14);

  const auto middle = cube.slice(2, 1, 2);
  CHECK(middle.shape() == Shape<3>{2, 3, 2});
  CHECK(middle(1, 1, 0) == 17);
  CHECK_FALSE(middle.is_contiguous());
  CHECK(cube.slice(0, 1, 1).is_contiguous());
  CHECK(cube.slice(0, 2, 0).empty());

  const auto turned = cube.permuted({2, 0, 1});
  CHECK(turned.shape() == Shape<3>{4, 2, 3});
  CHECK(turned(3, 1, 2) == cube(1, 2, 3));
  CHECK(cube.row(0).transposed()(3, 1) == cube(0, 1, 3));
}

TEST_CASE("an extent of one is contiguous whatever its stride", "[core]") {
  std::vector<int> memory = numbers(8);
  CHECK(MatrixView<int>(memory.data(), {1, 4}, {77, 1}).is_contiguous());
  CHECK(MatrixView<int>(memory.data(), {4, 1}, {1, 77}).is_contiguous());
  CHECK_FALSE(MatrixView<int>(memory.data(), {4, 1}, {2, 1}).is_contiguous());
}

TEST_CASE("windows outside the bounds are refused by name", "[core]") {
  std::vector<int> memory = numbers(6);
  const MatrixView<int> m(memory, {2, 3});
  CHECK_THROWS_AS(m.at(2, 0), ShapeError);
  CHECK_THROWS_AS(m.at(0, -1), ShapeError);
  CHECK(m.at(1, 2) == 5);
  CHECK_THROWS_WITH(m.at(2, 1), ContainsSubstring("[2, 1]") && ContainsSubstring("[2, 3]"));
  CHECK_THROWS_AS(m.row(2), ShapeError);
  CHECK_THROWS_AS(m.select(2, 0), ShapeError);
  CHECK_THROWS_AS(m.select(1, -1), ShapeError);
  CHECK_THROWS_AS(m.slice(1, 2, 2), ShapeError);
  CHECK_THROWS_AS(m.slice(1, -1, 2), ShapeError);
  CHECK_THROWS_AS(m.slice(1, 0, -1), ShapeError);
  CHECK_THROWS_AS(m.slice(1, std::numeric_limits<Index>::max(), 1), ShapeError);
  CHECK_THROWS_AS(m.permuted({0, 0}), ShapeError);
  CHECK_THROWS_AS(m.permuted({0, 2}), ShapeError);
}

TEST_CASE("shapes that are negative, overflow or exceed the memory are refused", "[core]") {
  std::vector<int> memory = numbers(6);
  constexpr Index huge = std::numeric_limits<Index>::max();
  CHECK_THROWS_AS(MatrixView<int>(memory.data(), {-1, 3}), ShapeError);
  CHECK_THROWS_AS(MatrixView<int>(memory.data(), {huge, 2}), ShapeError);
  CHECK_THROWS_AS(MatrixView<int>(memory, {2, 4}), ShapeError);
  CHECK_NOTHROW(MatrixView<int>(memory.data(), {huge, 0}));

  using Span = ColumnMajorSpan<int, 2>;
  constexpr auto negative = static_cast<std::size_t>(-1);
  CHECK_THROWS_AS((MatrixView<int>(Span{memory.data(), {negative, 3}})), ShapeError);
  CHECK_THROWS_AS((MatrixView<int>(Span{memory.data(), {std::size_t{huge}, 2}})), ShapeError);
  const MatrixView<int> no_columns(Span{memory.data(), {std::size_t{huge}, 0}});
  CHECK(no_columns.transposed().shape() == Shape<2>{0, huge});
}

TEST_CASE("copying converts between element types and strides", "[core]") {
  std::vector<int> memory = numbers(6);
  std::vector<double> target(6);
  const MatrixView<double> dst(target, {3, 2});
  copy(MatrixView<int>(memory, {2, 3}).transposed(), dst);
  CHECK(target == std::vector<double>{0, 3, 1, 4, 2, 5});
  CHECK_THROWS_AS(copy(MatrixView<int>(memory, {2, 3}), dst), ShapeError);
}
