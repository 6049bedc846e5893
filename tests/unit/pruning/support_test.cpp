#include "pare/pruning/support.hpp"

#include <cmath>
#include <limits>

#include "pare/core/parallel_openmp.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

/// What the general selection says of |z|.
Mask selected_by_score(const Matrix<float>& z, const Selection& selection) {
  Matrix<float> scores(z.shape());
  for (Index k = 0; k < z.size(); ++k) scores.data()[k] = std::fabs(z.data()[k]);
  return select(scores, selection);
}

Mask selected_by_support(const Matrix<float>& z, const Selection& selection,
                         const ParallelFor& parallel_for = {}) {
  const auto nothing = [](Index) {};
  detail::SupportSelector selector(z.shape(), selection, parallel_for);
  Mask mask(z.rows(), z.cols());
  selector.select(z, mask, nothing, nothing);
  // What a selector remembers is no part of the result.
  selector.select(z, mask, nothing, nothing);
  return mask;
}

}  // namespace

TEST_CASE("a support is what select keeps of magnitudes, ties and shares included") {
  // The last is cut into shares; with whole numbers nearly all are ties.
  for (const auto& [rows, cols] :
       {Shape<2>{1, 1}, Shape<2>{3, 17}, Shape<2>{5, 64}, Shape<2>{4, 130}, Shape<2>{740, 740}})
    for (const bool ties : {false, true}) {
      const Matrix<float> z =
          ties ? test::random_integers(rows, cols, -2, 2, 3) : test::random_matrix(rows, cols, 4);
      for (const double sparsity : {0.0, 0.1, 0.47, 0.75, 1.0}) {
        if (rows > 100 && sparsity != 0.47) continue;
        CAPTURE(rows, cols, ties, sparsity);
        const Selection whole{.sparsity = sparsity};
        const Mask expected = selected_by_score(z, whole);
        CHECK(selected_by_support(z, whole) == expected);
        CHECK(selected_by_support(z, whole, OpenMpFor(3)) == expected);
        if (rows > 100) continue;
        const Selection by_row{.sparsity = sparsity, .scope = SelectionScope::row};
        CHECK(selected_by_support(z, by_row) == selected_by_score(z, by_row));
      }
    }
}

TEST_CASE("a support in N:M is what select keeps of magnitudes") {
  const Matrix<float> z = test::random_integers(7, 240, -3, 3, 5);
  for (const auto& [keep, of] : {Shape<2>{2, 4}, Shape<2>{1, 3}, Shape<2>{4, 8}, Shape<2>{0, 5},
                                 Shape<2>{3, 80}, Shape<2>{2, 2}}) {
    CAPTURE(keep, of);
    const Selection selection{.keep = keep, .of = of};
    CHECK(selected_by_support(z, selection) == selected_by_score(z, selection));
  }
}

TEST_CASE("a row of a mask is read without branches") {
  for (const Index cols : {1, 8, 63, 64, 77, 200}) {
    const Matrix<float> a = test::random_matrix(2, cols, 1), b = test::random_matrix(2, cols, 2);
    Mask mask(2, cols);
    for (Index j = 0; j < cols; ++j) mask.set(1, j, j % 3 != 1);
    Matrix<float> out({2, cols});
    detail::transform_masked(mask, 1, &a(1, 0), &b(1, 0), &out(1, 0),
                             [](std::uint32_t kept, float x, float y) {
                               return detail::where(kept, x) + 2.0f * detail::where(~kept, y);
                             });
    for (Index j = 0; j < cols; ++j) CHECK(out(1, j) == (j % 3 != 1 ? a(1, j) : 2.0f * b(1, j)));
    CHECK(detail::changed(mask, Mask(2, cols)) == mask.removed());
  }
}

TEST_CASE("a support has no blocks and no mask around it") {
  const Mask mask(4, 8);
  for (const Selection& selection :
       {Selection{.block_cols = 2}, Selection{.within = &mask}, Selection{.sparsity = 2.0},
        Selection{.keep = 1, .of = 3}, Selection{.count = 33}})
    CHECK_THROWS_AS(detail::SupportSelector({4, 8}, selection, {}), ArgumentError);
}
