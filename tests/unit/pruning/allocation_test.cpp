#include "pare/pruning/allocation.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "pare/pruning/scores/wanda.hpp"
#include "support/catch.hpp"
#include "support/pruning_oracle.hpp"

using namespace pare;
using test::PruningOracle;

namespace {

using Shapes = std::vector<std::vector<Index>>;
const double not_a_number = std::numeric_limits<double>::quiet_NaN();

double weights_of(const std::vector<Index>& shape) {
  double weights = 1.0;
  for (const Index extent : shape) weights *= static_cast<double>(extent);
  return weights;
}

}  // namespace

TEST_CASE("uniform sparsity") {
  CHECK(uniform_sparsity(3, 0.7) == std::vector<double>{0.7, 0.7, 0.7});
  CHECK(uniform_sparsity(0, 0.7).empty());
  CHECK_THROWS_AS(uniform_sparsity(-1, 0.5), ArgumentError);
  for (const double sparsity : {-0.1, 1.1, not_a_number})
    CHECK_THROWS_AS(uniform_sparsity(1, sparsity), ArgumentError);
}

TEST_CASE("erk by hand: matrices and convolutions") {
  // Extents 40 and 40 + 6 = 46 over 300 and 9 * 300 weights, of which 10 % stay:
  // e = 0.1 * 3000 / 86.
  const Shapes shapes{{10, 30}, {10, 30, 3, 3}};
  const std::vector<double> sparsity = erk_sparsity(shapes, 0.9);
  const double e = 300.0 / 86.0;
  CHECK(sparsity[0] == Approx(1.0 - e * 40.0 / 300.0).epsilon(1e-12));
  CHECK(sparsity[1] == Approx(1.0 - e * 46.0 / 2700.0).epsilon(1e-12));
}

TEST_CASE("erk makes layers dense that want more than they have") {
  // At a half the small layer wants 1650 / 86 * 40 = 767 of 300: it stays whole and the other keeps
  // the remaining 1200.
  const Shapes shapes{{10, 30}, {10, 30, 3, 3}};
  const std::vector<double> sparsity = erk_sparsity(shapes, 0.5);
  CHECK(sparsity[0] == 0.0);
  CHECK(sparsity[1] == Approx(1.0 - 1200.0 / 2700.0).epsilon(1e-12));
}

TEST_CASE("erk keeps the budget, whatever is capped") {
  const Shapes shapes{{64, 3, 7, 7}, {64, 64, 3, 3}, {128, 64, 3, 3}, {512, 512, 3, 3},
                      {1000, 512},   {1, 1},         {3, 2, 1, 1},    {10}};
  double all = 0.0;
  for (const auto& shape : shapes) all += weights_of(shape);
  std::vector<double> previous(shapes.size(), -1.0);
  for (const double sparsity : {0.0, 0.01, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0}) {
    CAPTURE(sparsity);
    const std::vector<double> layers = erk_sparsity(shapes, sparsity);
    double removed = 0.0, ratio = 0.0;
    for (std::size_t l = 0; l < shapes.size(); ++l) {
      CHECK((layers[l] >= 0.0 && layers[l] <= 1.0));
      CHECK(layers[l] >= previous[l] - 1e-12);
      removed += layers[l] * weights_of(shapes[l]);
      if (layers[l] == 0.0 || sparsity == 1.0) continue;
      double extents = 0.0;
      for (const Index extent : shapes[l]) extents += static_cast<double>(extent);
      const double e = (1.0 - layers[l]) * weights_of(shapes[l]) / extents;
      if (ratio == 0.0) ratio = e;
      CHECK(e == Approx(ratio).epsilon(1e-9));
    }
    CHECK(removed == Approx(sparsity * all).epsilon(1e-9).margin(1e-6));
    previous = layers;
  }
  CHECK(erk_sparsity({}, 0.5).empty());
  CHECK(erk_sparsity(Shapes{{0, 4}, {4, 4}}, 0.5) == std::vector<double>{0.0, 0.5});
  CHECK_THROWS_AS(erk_sparsity(Shapes{{-1, 4}}, 0.5), ShapeError);
  for (const double sparsity : {-0.1, 1.1, not_a_number})
    CHECK_THROWS_AS(erk_sparsity(shapes, sparsity), ArgumentError);
}

TEST_CASE("owl agrees with the authors' code") {
  const PruningOracle oracle;
  const std::vector<Matrix<float>> weights = oracle.matrices("owl.w", 4);
  const std::vector<float> norms = oracle.values<float>("wanda.scaler_row");
  std::vector<Matrix<float>> scores;
  for (const Matrix<float>& w : weights) scores.push_back(wanda_scores(w, norms));
  for (const std::string name : {"owl.0.5", "owl.0.7"}) {
    CAPTURE(name);
    const nlohmann::json meta = oracle.meta(name);
    std::vector<double> outliers;
    for (const Matrix<float>& layer : scores)
      outliers.push_back(owl_outlier_percent(std::vector<MatrixView<const float>>{layer},
                                             meta.at("M").get<double>()));
    CHECK(outliers == meta.at("outlier_percent").get<std::vector<double>>());
    const double sparsity = meta.at("sparsity");
    const std::vector<double> layers =
        owl_sparsity(outliers, sparsity, meta.at("lamda").get<double>());
    const auto expected = meta.at("layer_sparsity").get<std::vector<double>>();
    const auto removed = meta.at("removed_per_row").get<std::vector<Index>>();
    double mean = 0.0;
    for (std::size_t l = 0; l < 4; ++l) {
      CHECK(layers[l] == Approx(expected[l]).epsilon(1e-12));
      mean += layers[l] / 4.0;
      const Index count = static_cast<Index>(std::floor(64.0 * layers[l]));
      CHECK(count == removed[l]);
      CHECK(test::lowest_removed_of_groups(scores[l], 64, count) ==
            oracle.mask(name + ".mask" + std::to_string(l)));
    }
    CHECK(mean == Approx(sparsity).epsilon(1e-12));
  }
}

TEST_CASE("owl looks at all layers of a block together") {
  Matrix<float> small({1, 8}), large({1, 2});
  small.fill(1.0f);
  large.fill(16.0f);
  // The mean is 4: alone, neither has an outlier above 3 times its mean.
  CHECK(owl_outlier_percent(std::vector<MatrixView<const float>>{small, large}, 3.0) ==
        Approx(20.0));
  CHECK(owl_outlier_percent(std::vector<MatrixView<const float>>{small, large}, 4.0) == 0.0);
  const auto one_at_a_time = [&](Index layer) { return layer == 0 ? small : large; };
  CHECK(owl_outlier_percent(2, one_at_a_time, 3.0) == Approx(20.0));
  CHECK_THROWS_AS(owl_outlier_percent(0, one_at_a_time), ArgumentError);
  CHECK(owl_outlier_percent(std::vector<MatrixView<const float>>{large}, 3.0) == 0.0);
  CHECK_THROWS_AS(owl_outlier_percent({}), ArgumentError);
  CHECK_THROWS_AS(owl_outlier_percent(std::vector<MatrixView<const float>>{small}, not_a_number),
                  ArgumentError);
  small(0, 3) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(owl_outlier_percent(std::vector<MatrixView<const float>>{small}), NumericError);
}

TEST_CASE("owl of like blocks, and beyond what blocks have") {
  CHECK(owl_sparsity(std::vector<double>{2, 2, 2}, 0.6) == std::vector<double>{0.6, 0.6, 0.6});
  CHECK(owl_sparsity(std::vector<double>{2}, 0.6) == std::vector<double>{0.6});
  CHECK(owl_sparsity({}, 0.6).empty());
  CHECK(owl_sparsity(std::vector<double>{1, 3}, 0.6, 0.0) == std::vector<double>{0.6, 0.6});
  const std::vector<double> two = owl_sparsity(std::vector<double>{1, 3}, 0.6, 0.1);
  CHECK(two[0] == Approx(0.7));
  CHECK(two[1] == Approx(0.5));
  CHECK_THROWS_WITH(owl_sparsity(std::vector<double>{1, 3}, 0.95, 0.1),
                    ContainsSubstring("block 0 would have a sparsity of 1.05"));
  CHECK_THROWS_AS(owl_sparsity(std::vector<double>{1, 3}, 0.05, 0.1), ArgumentError);
  CHECK_THROWS_AS(owl_sparsity(std::vector<double>{1, 3}, 0.5, -0.1), ArgumentError);
  CHECK_THROWS_AS(owl_sparsity(std::vector<double>{1, 3}, 1.5), ArgumentError);
  CHECK_THROWS_AS(owl_sparsity(std::vector<double>{1, not_a_number}, 0.5), NumericError);
}
