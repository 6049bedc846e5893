#include "pare/formats/mask.hpp"

#include <utility>

#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using namespace pare::test;

TEST_CASE("a mask counts its bits, whatever the width of rows") {
  for (const auto& [rows, cols] :
       {std::pair<Index, Index>{0, 0}, {1, 1}, {3, 63}, {2, 64}, {5, 65}, {4, 200}}) {
    CAPTURE(rows, cols);
    Mask all(rows, cols), none(rows, cols, false);
    CHECK(all.kept() == rows * cols);
    CHECK(all.density() == 1.0);
    CHECK(none.kept() == 0);
    CHECK(none.removed() == rows * cols);
    for (Index i = 0; i < rows; ++i)
      for (Index j = i % 3; j < cols; j += 3) none.set(i, j, true);
    Index expected = 0;
    for (Index i = 0; i < rows; ++i) {
      Index in_row = 0;
      for (Index j = 0; j < cols; ++j) {
        CHECK(none(i, j) == (j % 3 == i % 3));
        in_row += j % 3 == i % 3;
      }
      CHECK(none.kept_in_row(i) == in_row);
      expected += in_row;
    }
    CHECK(none.kept() == expected);
    CHECK((all & none) == none);
    if (expected < rows * cols) CHECK_FALSE(all == none);
  }
}

TEST_CASE("applied, a mask puts zeros where it keeps nothing, NaN included") {
  Matrix<float> w = random_matrix(3, 70);
  w(1, 66) = std::numeric_limits<float>::quiet_NaN();
  const Matrix<float> before = w;
  Mask mask(3, 70);
  for (const Index j : {0, 63, 64, 66}) mask.set(1, j, false);
  mask.apply(w);
  for (Index i = 0; i < 3; ++i)
    for (Index j = 0; j < 70; ++j) CHECK(w(i, j) == (mask(i, j) ? before(i, j) : 0.0f));
  CHECK(nonzero_mask(w) == mask);
  CHECK_THROWS_AS(mask.apply(random_matrix(70, 3).view()), ShapeError);
  CHECK_THROWS_AS(mask &= Mask(3, 71), ShapeError);
  CHECK_THROWS_AS(Mask(-1, 3), ShapeError);
}

TEST_CASE("a pattern is checked in every group, the last short one too") {
  Mask mask(2, 10, false);
  for (const Index j : {0, 1, 6, 7, 8, 9}) mask.set(0, j, true);
  CHECK(mask.is_n_of_m(2, 4));
  CHECK_FALSE(mask.is_n_of_m(1, 4));
  mask.set(1, 5, true);
  mask.set(1, 6, true);
  mask.set(1, 7, true);
  CHECK_FALSE(mask.is_n_of_m(2, 4));
  CHECK(mask.is_n_of_m(3, 4));
  for (const auto& [keep, of] : {std::pair<Index, Index>{5, 4}, {-1, 4}, {0, 0}})
    CHECK_THROWS_AS(mask.is_n_of_m(keep, of), ArgumentError);
}
