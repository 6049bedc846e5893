#include "pare/formats/quantized_matrix.hpp"

#include <vector>

#include "pare/formats/all.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

using Int4 = QuantizedMatrix<Int<4>>;

}  // namespace

TEST_CASE("a row is cut into groups, the last one may be shorter", "[formats]") {
  const struct {
    Index cols, group_size, groups;
  } cases[] = {{17, -1, 1}, {17, 17, 1}, {17, 16, 2}, {17, 5, 4},
               {17, 1, 17}, {1, 1, 1},   {0, -1, 0}};
  for (const auto& c : cases) {
    CAPTURE(c.cols, c.group_size);
    const Int4 q(3, c.cols, c.group_size, ScaleType::f16);
    CHECK(q.groups() == c.groups);
    CHECK(q.parameters().shape() == Shape<2>{3, c.groups});
    CHECK(q.group_size() == c.group_size);
    if (c.cols > 0) CHECK(q.group_of(c.cols - 1) == c.groups - 1);
  }
}

TEST_CASE("group sizes of 0, below -1 or beyond the row are refused", "[formats]") {
  for (const Index group_size : {0, -2, -64, 18}) {
    CAPTURE(group_size);
    CHECK_THROWS_AS(Int4(3, 17, group_size, ScaleType::f16), ArgumentError);
    CHECK_THROWS_WITH(Int4(3, 17, group_size, ScaleType::f16),
                      ContainsSubstring(std::to_string(group_size)));
  }
  CHECK_THROWS_AS(Int4(-1, 17, 4, ScaleType::f16), ShapeError);
}

TEST_CASE("sizes in bytes count codes, scales, zero points and the group index", "[formats]") {
  // By hand for 3 rows of 17 codes in 3 groups of at most 8.
  CHECK(QuantizedMatrix<Int<4>>(3, 17, 8, ScaleType::f16).bytes() == 26 + 18);
  CHECK(QuantizedMatrix<UInt<4>>(3, 17, 8, ScaleType::f16).bytes() == 26 + 23);
  CHECK(QuantizedMatrix<UInt<3>>(3, 17, 8, ScaleType::f32).bytes() == 20 + 40);
  CHECK(QuantizedMatrix<NF4>(3, 17, 8, ScaleType::bf16).bytes() == 26 + 18);
  CHECK(QuantizedMatrix<Int<8>>(3, 17, -1, ScaleType::f32).bytes() == 51 + 12);
  CHECK(QuantizedMatrix<Int<2>>(0, 17, 8, ScaleType::f16).bytes() == 0);

  CHECK(QuantizedMatrix<Int<4>>(8, 128, 64, ScaleType::f16).bits_per_weight() == 4.25);
  CHECK(QuantizedMatrix<UInt<4>>(8, 128, 64, ScaleType::f16).bits_per_weight() == 4.3125);
  CHECK(QuantizedMatrix<Int<8>>(8, 128, -1, ScaleType::f32).bits_per_weight() == 8.25);

  Int4 indexed(3, 16, 8, ScaleType::f16);
  std::vector<std::int32_t> index(16);
  for (std::size_t j = 0; j < 16; ++j) index[j] = j % 2;
  indexed.set_group_index(index);
  CHECK(indexed.bytes() == 24 + 12 + 64);
}

TEST_CASE("a group index assigns columns to groups", "[formats]") {
  QuantizedMatrix<UInt<8>> q(1, 5, 2, ScaleType::f32);
  for (Index g = 0; g < 3; ++g) q.parameters()(0, g) = {static_cast<float>(g + 1), 0};
  for (Index j = 0; j < 5; ++j) q.codes()(0, j) = 10;
  CHECK(q.column_order().empty());

  const std::vector<std::int32_t> index{2, 0, 1, 0, 1};
  q.set_group_index(index);
  CHECK(std::vector<std::int32_t>(q.group_index().begin(), q.group_index().end()) == index);
  CHECK(q.value(0, 0) == 30.0f);
  CHECK(q.value(0, 1) == 10.0f);
  CHECK(q.column_order() == std::vector<std::int32_t>{1, 3, 2, 4, 0});
  const Matrix<float> values = dequantize(q);
  for (Index j = 0; j < 5; ++j)
    CHECK(values(0, j) == 10.0f * static_cast<float>(index[static_cast<std::size_t>(j)] + 1));

  q.set_group_index(std::vector<std::int32_t>{0, 0, 1, 1, 2});
  CHECK(q.group_index().empty());
}

TEST_CASE("a group index with wrong length, groups or counts is refused", "[formats]") {
  Int4 q(2, 5, 2, ScaleType::f16);
  using Index32 = std::vector<std::int32_t>;
  CHECK_THROWS_AS(q.set_group_index(Index32{0, 0, 1, 1}), ShapeError);
  CHECK_THROWS_AS(q.set_group_index(Index32{0, 0, 1, 1, 3}), ArgumentError);
  CHECK_THROWS_AS(q.set_group_index(Index32{0, 0, 1, 1, -1}), ArgumentError);
  CHECK_THROWS_WITH(q.set_group_index(Index32{0, 0, 0, 1, 2}),
                    ContainsSubstring("group 0 has 3 columns instead of 2"));
  CHECK(q.group_index().empty());
}

TEST_CASE("matrices are equal when codes, parameters and groups are", "[formats]") {
  Int4 a(2, 4, 2, ScaleType::f16), b = a;
  CHECK(a == b);
  b.codes()(1, 1) = 1;
  CHECK_FALSE(a == b);
  CHECK_FALSE(a == Int4(2, 4, 2, ScaleType::f32));
}
