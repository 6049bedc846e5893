#include "pare/pruning/selection.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "pare/io/safetensors_reader.hpp"
#include "pare/pruning/global_selection.hpp"
#include "pare/pruning/scores/magnitude.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

namespace {

using namespace pare;
using namespace pare::test;

const SafetensorsReader& selection_oracle() {
  static const auto file =
      SafetensorsReader::open(std::string(PARE_TEST_DATA_DIR) + "/pruning.safetensors");
  return file;
}

/// A tensor as a matrix, its first axis the rows.
Matrix<float> matrix(const std::string& name) {
  const TensorInfo& info = selection_oracle().info(name);
  const auto values =
      info.dtype == DType::U8 ? std::vector<float>() : selection_oracle().read_as<float>(name);
  const Index rows = info.shape.size() > 1 ? info.shape[0] : 1;
  return Matrix<float>(
      MatrixView<const float>(values.data(), {rows, static_cast<Index>(values.size()) / rows}));
}

Mask mask(const std::string& name) {
  const TensorInfo& info = selection_oracle().info(name);
  const auto values = selection_oracle().read_as<std::uint8_t>(name);
  const Index rows = info.shape.size() > 1 ? info.shape[0] : 1;
  const Index cols = static_cast<Index>(values.size()) / rows;
  Mask result(rows, cols, false);
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j)
      result.set(i, j, values[static_cast<std::size_t>(i * cols + j)] != 0);
  return result;
}

/// By sorting: what exactly k lowest means.
Mask by_sorting(const Matrix<float>& scores, Index count) {
  std::vector<Index> order(static_cast<std::size_t>(scores.size()));
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](Index a, Index b) { return scores.data()[a] < scores.data()[b]; });
  Mask result(scores.rows(), scores.cols());
  for (Index k = 0; k < count; ++k) {
    const Index at = order[static_cast<std::size_t>(k)];
    result.set(at / scores.cols(), at % scores.cols(), false);
  }
  return result;
}

}  // namespace

TEST_CASE("a share of a number is rounded as the rule says") {
  using enum CountRounding;
  const struct {
    Index n;
    double sparsity;
    Index even, down, up;
  } cases[] = {{10, 0.25, 2, 2, 3}, {5, 0.5, 2, 2, 3},       {7, 0.5, 4, 3, 4},
               {17, 0.4, 7, 6, 7},  {100, 0.29, 29, 28, 29}, {1000, 0.1, 100, 100, 100},
               {0, 0.5, 0, 0, 0},   {1, 0.5, 0, 0, 1},       {2, 0.5, 1, 1, 1},
               {15, 0.0, 0, 0, 0},  {15, 1.0, 15, 15, 15},   {3, 0.5, 2, 1, 2}};
  for (const auto& c : cases) {
    CAPTURE(c.n, c.sparsity);
    CHECK(removed_count(c.n, c.sparsity) == c.even);
    CHECK(removed_count(c.n, c.sparsity, down) == c.down);
    CHECK(removed_count(c.n, c.sparsity, up) == c.up);
  }
  for (const double bad : {-0.1, 1.1, std::nan(""), -std::numeric_limits<double>::infinity()})
    CHECK_THROWS_AS(removed_count(4, bad), ArgumentError);
}

TEST_CASE("exactly the lowest scores go, the lowest index first among equals") {
  const Matrix<float> scores = matrix("selectors.scores");
  for (const char* sparsity : {"0.25", "0.29", "0.5", "0.7"}) {
    CAPTURE(sparsity);
    const std::string name = std::string("selectors.") + sparsity + ".stable";
    CHECK(select(scores, {.sparsity = std::stod(sparsity)}) == mask(name));
  }
  for (const int layer : {0, 1, 2}) {
    const std::string own = std::to_string(layer);
    const Matrix<float> w = matrix("magnitude.w" + own);
    for (const char* amount : {"0.3", "0.5", "17"}) {
      CAPTURE(layer, amount);
      const bool is_count = std::string(amount) == "17";
      const Selection selection{.sparsity = is_count ? 0.5 : std::stod(amount),
                                .count = is_count ? 17 : -1};
      CHECK(select(magnitude_scores(w), selection) ==
            mask(std::string("magnitude.local.") + amount + ".mask" + own + "_stable"));
    }
  }
}

TEST_CASE("what is removed stays removed and counts") {
  const Matrix<float> w = matrix("magnitude.w1");
  const Mask first = mask("magnitude.twice.mask_first"),
             second = mask("magnitude.twice.mask_second");
  // The reference takes a share of what remains.
  CHECK(select(magnitude_scores(w), {.count = second.removed(), .within = &first}) == second);
  const Matrix<float> scores = random_matrix(9, 37);
  Mask gone(9, 37);
  for (Index i = 0; i < 9; ++i) gone.set(i, (5 * i) % 37, false);
  const Mask mask = select(scores, {.sparsity = 0.3, .within = &gone});
  CHECK(mask.removed() == removed_count(9 * 37, 0.3));
  CHECK((mask & gone) == mask);
  CHECK(select(scores, {.count = 2, .within = &gone}) == gone);
  CHECK_THROWS_AS(select(scores, {.within = &first}), ShapeError);
}

TEST_CASE("each row loses as many where rows are the scope") {
  const Matrix<float> scores = matrix("wanda.scores");
  for (const char* sparsity : {"0.5", "0.6", "0.7"}) {
    CAPTURE(sparsity);
    CHECK(select(scores, {.sparsity = std::stod(sparsity),
                          .scope = SelectionScope::row,
                          .rounding = CountRounding::down}) ==
          mask(std::string("wanda.row.") + sparsity + ".mask"));
  }
  const Matrix<float> ragged = random_matrix(5, 131);
  const Mask mask = select(ragged, {.sparsity = 0.77, .scope = SelectionScope::row});
  for (Index i = 0; i < 5; ++i) CHECK(mask.kept_in_row(i) == 131 - removed_count(131, 0.77));
}

TEST_CASE("of M neighbours the N with the highest scores stay, the first among equals") {
  for (const auto& [keep, of] : {std::pair<Index, Index>{2, 4}, {4, 8}, {1, 4}, {3, 4}, {2, 8}}) {
    const std::string name = "nm." + std::to_string(keep) + ":" + std::to_string(of);
    CAPTURE(name);
    const Mask found = select(magnitude_scores(matrix("nm.weight")), {.keep = keep, .of = of});
    CHECK(found == mask(name + ".mask"));
    CHECK(found.is_n_of_m(keep, of));
    CHECK(select(magnitude_scores(matrix("nm.tied")), {.keep = keep, .of = of}) ==
          mask(name + ".tied_lowest"));
  }
  for (const auto& [keep, of] : {std::pair<Index, Index>{2, 4}, {4, 8}, {1, 4}})
    CHECK(select(matrix("wanda.scores"), {.keep = keep, .of = of}) ==
          mask("wanda." + std::to_string(keep) + ":" + std::to_string(of) + ".mask"));
  // What is gone is not taken back.
  Mask gone(1, 8);
  for (const Index j : {1, 2, 3}) gone.set(0, j, false);
  const Mask of_rest = select(random_matrix(1, 8), {.keep = 2, .of = 4, .within = &gone});
  CHECK(of_rest(0, 0));
  CHECK(of_rest.kept() == 3);
}

TEST_CASE("a transposable mask is the best of all tiles") {
  const Matrix<float> w = matrix("transposable_2:4.weight");
  const Mask found = select_transposable_two_four(magnitude_scores(w).view());
  CHECK(found == mask("transposable_2:4.best"));
  CHECK(detail::transposable_tiles().size() == 90);
  Mask transposed(found.cols(), found.rows());
  for (Index i = 0; i < found.rows(); ++i)
    for (Index j = 0; j < found.cols(); ++j) transposed.set(j, i, found(i, j));
  CHECK(found.is_n_of_m(2, 4));
  CHECK(transposed.is_n_of_m(2, 4));
  CHECK_THROWS_AS(select_transposable_two_four(random_matrix(4, 6).view()), ArgumentError);
}

TEST_CASE("blocks, rows and columns go as one") {
  const Matrix<float> scores(random_matrix(10, 14));
  for (const auto& [height, width] : {std::pair<Index, Index>{2, 7}, {4, 4}, {-1, 1}, {1, -1}}) {
    CAPTURE(height, width);
    const Mask mask = select(scores, {.sparsity = 0.5, .block_rows = height, .block_cols = width});
    const Index h = height == -1 ? 10 : height, w = width == -1 ? 14 : width;
    Index removed = 0;
    double largest_removed = -1e9, smallest_kept = 1e9;
    for (Index b = 0; b < ceil_div(Index{10}, h); ++b)
      for (Index c = 0; c < ceil_div(Index{14}, w); ++c) {
        double sum = 0.0, kept = 0.0, count = 0.0;
        for (Index i = b * h; i < std::min<Index>(10, b * h + h); ++i)
          for (Index j = c * w; j < std::min<Index>(14, c * w + w); ++j) {
            sum += static_cast<double>(scores(i, j));
            kept += mask(i, j);
            count += 1.0;
          }
        CHECK((kept == 0.0 || kept == count));
        removed += kept == 0.0;
        (kept == 0.0 ? largest_removed : smallest_kept) =
            kept == 0.0 ? std::max(largest_removed, sum / count)
                        : std::min(smallest_kept, sum / count);
      }
    CHECK(removed == removed_count(ceil_div(Index{10}, h) * ceil_div(Index{14}, w), 0.5));
    CHECK(largest_removed <= smallest_kept);
  }
}

TEST_CASE("many matrices compete with each other, in four passes") {
  std::vector<Matrix<float>> scores;
  for (const char* layer : {"0", "1", "2"})
    scores.push_back(magnitude_scores(matrix(std::string("magnitude.w") + layer)));
  Index total = 0;
  for (const auto& s : scores) total += s.size();
  for (const char* amount : {"0.4", "0.8", "100"}) {
    CAPTURE(amount);
    const double share =
        std::string(amount) == "100" ? 100.0 / static_cast<double>(total) : std::stod(amount);
    int calls = 0;
    select_global<float>(
        3,
        [&](Index layer) -> const Matrix<float>& {
          ++calls;
          return scores[static_cast<std::size_t>(layer)];
        },
        {.sparsity = share},
        [&](Index layer, const Mask& found) {
          CHECK(found == mask(std::string("magnitude.global.") + amount + ".mask" +
                              std::to_string(layer) + "_stable"));
        });
    CHECK(calls == 4 * 3);
  }
  for (const double sparsity : {0.0, 0.5, 1.0}) {
    Index removed = 0;
    select_global<double>(
        2, [&](Index layer) { return Matrix<double>(random_matrix(7, 11 + layer).view()); },
        {.sparsity = sparsity}, [&](Index, const Mask& found) { removed += found.removed(); });
    CHECK(removed == removed_count(7 * 11 + 7 * 12, sparsity));
  }
  // A small matrix would be emptied.
  select_global<float>(
      2,
      [&](Index layer) { return Matrix<float>(random_integers(4, 4, 1, 9, layer == 0 ? 1 : 2)); },
      {.sparsity = 1.0, .least_kept = 3},
      [&](Index, const Mask& found) { CHECK(found.kept() == 3); });
}

TEST_CASE("selection is that of sorting, for ragged shapes, ties and infinities") {
  for (const auto& [rows, cols] : {std::pair<Index, Index>{1, 1}, {3, 65}, {7, 128}, {2, 200}}) {
    Matrix<float> scores = random_integers(rows, cols, -3, 3);
    if (scores.size() > 8) {
      scores.data()[3] = -std::numeric_limits<float>::infinity();
      scores.data()[7] = std::numeric_limits<float>::infinity();
      scores.data()[5] = -0.0f;
    }
    for (const double sparsity : {0.0, 0.1, 0.5, 0.9, 1.0}) {
      CAPTURE(rows, cols, sparsity);
      const Mask found = select(scores, {.sparsity = sparsity});
      CHECK(found == by_sorting(scores, removed_count(rows * cols, sparsity)));
      const Mask by_row = select(scores, {.sparsity = sparsity, .scope = SelectionScope::row});
      const Matrix<double> wide(scores.view());
      CHECK(select(wide, {.sparsity = sparsity, .scope = SelectionScope::row}) == by_row);
      for (Index i = 0; i < rows; ++i) {
        const Mask row =
            by_sorting(Matrix<float>(scores.view().slice(0, i, 1)), removed_count(cols, sparsity));
        for (Index j = 0; j < cols; ++j) CHECK(by_row(i, j) == row(0, j));
      }
    }
  }
  CHECK(select(Matrix<float>({0, 5}), {}).size() == 0);
}

TEST_CASE("selections that make no sense are refused") {
  const Matrix<float> scores = random_matrix(4, 8);
  for (const Selection& bad :
       {Selection{.sparsity = -0.5}, Selection{.sparsity = 1.5}, Selection{.keep = 5, .of = 4},
        Selection{.keep = -1, .of = 4}, Selection{.keep = 1, .of = 3}, Selection{.of = -2},
        Selection{.block_rows = 0}, Selection{.block_cols = -2}, Selection{.count = 33},
        Selection{.least_kept = -1}, Selection{.keep = 2, .of = 4, .block_rows = 2}})
    CHECK_THROWS_AS(select(scores, bad), ArgumentError);
  Matrix<float> nan = scores;
  nan(2, 3) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(select(nan, {}), ContainsSubstring("[2, 3]"));
  CHECK_THROWS_WITH(
      select_global<float>(
          1, [&](Index) -> const Matrix<float>& { return nan; }, {}, [](Index, const Mask&) {}),
      ContainsSubstring("layer 0") && ContainsSubstring("[2, 3]"));
}
