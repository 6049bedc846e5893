#include <cmath>
#include <limits>
#include <vector>

#include "pare/pruning/scores/angular_distance.hpp"
#include "pare/pruning/scores/block_influence.hpp"
#include "pare/pruning/scores/head_importance.hpp"
#include "pare/pruning/scores/reap.hpp"
#include "support/catch.hpp"
#include "support/pruning_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::PruningOracle;
using test::random_matrix;

TEST_CASE("block influence and angular distance agree with their formulas") {
  const PruningOracle oracle;
  const Tensor<float, 3> before = oracle.tensor<3>("block_influence.before"),
                         after = oracle.tensor<3>("block_influence.after");
  BlockInfluence influence;
  AngularDistance distance;
  for (Index s = 0; s < before.extent(0); ++s) {
    influence.add(before.row(s), after.row(s));
    distance.add(before.row(s).slice(0, 19, 1), after.row(s).slice(0, 19, 1));
  }
  CHECK(influence.count() == 60);
  CHECK(distance.count() == 3);
  CHECK(influence.score() ==
        Approx(oracle.values<double>("block_influence.influence_f64")[0]).epsilon(1e-12));
  CHECK(distance.score() ==
        Approx(oracle.values<double>("block_influence.angular_last_token_f64")[0]).epsilon(1e-12));
}

TEST_CASE("angles between hidden states, zeros among them") {
  Matrix<float> before({1, 2}), after({1, 2});
  const auto both = [&] {
    BlockInfluence influence;
    influence.add(before, after);
    AngularDistance distance;
    distance.add(before, after);
    return std::pair{influence.score(), distance.score()};
  };
  // Zeros count as a cosine of 1/2.
  CHECK(both().first == 0.5);
  CHECK(both().second == Approx(1.0 / 3.0));
  before(0, 0) = 3.0f;
  CHECK(both().first == 0.5);
  after(0, 0) = 1e-30f;
  CHECK(both() == std::pair{0.0, 0.0});
  after(0, 0) = -7.0f;
  CHECK(both() == std::pair{2.0, 1.0});
  after(0, 0) = 0.0f;
  after(0, 1) = 1e30f;
  CHECK(both().first == 1.0);
  CHECK(both().second == Approx(0.5));
  // A cosine that rounds beyond 1 has no angle of NaN.
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const Matrix<float> h = random_matrix(1, 37, seed);
    AngularDistance same;
    same.add(h, h);
    CHECK(same.score() == Approx(0.0).margin(1e-7));
  }
}

TEST_CASE("block scores refuse what does not fit and stay as they were") {
  BlockInfluence influence;
  AngularDistance distance;
  CHECK_THROWS_AS(influence.score(), ArgumentError);
  CHECK_THROWS_AS(distance.score(), ArgumentError);
  const Matrix<float> h = random_matrix(4, 6, 1), other = random_matrix(4, 6, 2);
  influence.add(h, other);
  distance.add(h, other);
  const double score = influence.score(), angle = distance.score();
  Matrix<float> broken = h;
  broken(3, 5) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(influence.add(h, broken), NumericError);
  CHECK_THROWS_AS(influence.add(broken, h), NumericError);
  CHECK_THROWS_AS(distance.add(h, broken), NumericError);
  CHECK_THROWS_AS(influence.add(h, random_matrix(4, 5)), ShapeError);
  CHECK_THROWS_AS(distance.add(h, random_matrix(3, 6)), ShapeError);
  CHECK(influence.score() == score);
  CHECK(distance.score() == angle);
}

TEST_CASE("head importance sums magnitudes of samples over tokens") {
  // Two heads of two channels. Sample 1: <dL/dO, O> = 1*1 + 2*0.5 + 3*(-2) = -4 of head 0, 0.5 of
  // head 1; sample 2: 6 and -1.5. Tokens: 2 and 1.
  HeadImportance importance(2);
  Matrix<float> outputs({2, 4}), gradient({2, 4});
  const float first_outputs[] = {1, 2, 1, 0, 3, 0, 0, 4},
              first_gradient[] = {1, 0.5f, 0.5f, 9, -2, 7, 5, 0};
  std::copy(std::begin(first_outputs), std::end(first_outputs), outputs.data());
  std::copy(std::begin(first_gradient), std::end(first_gradient), gradient.data());
  importance.add(outputs, gradient);
  const std::vector<float> second_outputs{2, 0, 1, 1}, second_gradient{3, 1, -1, -0.5f};
  importance.add(MatrixView<const float>(second_outputs, {1, 4}),
                 MatrixView<const float>(second_gradient, {1, 4}));
  CHECK(importance.count() == 3);
  const Vector<float> scores = importance.scores();
  CHECK(scores[0] == Approx(10.0 / 3.0));
  CHECK(scores[1] == Approx(2.0 / 3.0));

  // The derivative of a loss with respect to a factor on a head: L = sum of c * xi_h O.
  const Matrix<float> o = random_matrix(5, 12, 1), c = random_matrix(5, 12, 2);
  HeadImportance exact(3);
  exact.add(o, c);
  for (Index h = 0; h < 3; ++h) {
    const auto loss = [&](double factor) {
      double sum = 0.0;
      for (Index t = 0; t < 5; ++t)
        for (Index j = 0; j < 12; ++j)
          sum += static_cast<double>(c(t, j)) * static_cast<double>(o(t, j)) *
                 (j / 4 == h ? factor : 1.0);
      return sum;
    };
    CHECK(static_cast<double>(exact.scores()[h]) ==
          Approx(std::fabs(loss(1.5) - loss(0.5)) / 5.0).epsilon(1e-5));
  }
}

TEST_CASE("head importances of layers are made comparable") {
  std::vector<float> a{3, 4}, b{0, 2}, c{0, 0};
  const std::vector<VectorView<float>> layers{a, b, c};
  normalize_head_importance(layers);
  CHECK(a == std::vector<float>{0.6f, 0.8f});
  CHECK(b == std::vector<float>{0, 1});
  CHECK(c == std::vector<float>{0, 0});
  std::vector<float> like{2, 2};
  normalize_head_importance(std::vector<VectorView<float>>{like});
  CHECK(like == std::vector<float>{0, 0});
  std::vector<float> shifted{3, 4};  // min-max: of one layer too
  normalize_head_importance(std::vector<VectorView<float>>{shifted});
  CHECK(shifted == std::vector<float>{0, 1});
  normalize_head_importance({});
  std::vector<float> broken{1, std::numeric_limits<float>::infinity()};
  CHECK_THROWS_WITH(normalize_head_importance(std::vector<VectorView<float>>{like, broken}),
                    ContainsSubstring("head 1 of layer 1"));
}

TEST_CASE("head importance refuses what does not fit") {
  CHECK_THROWS_AS(HeadImportance(0), ArgumentError);
  CHECK_THROWS_AS(HeadImportance(-2), ArgumentError);
  HeadImportance importance(3);
  CHECK_THROWS_AS(importance.scores(), ArgumentError);
  const Matrix<float> o = random_matrix(2, 6);
  CHECK_THROWS_AS(importance.add(o, random_matrix(3, 6)), ShapeError);
  CHECK_THROWS_AS(importance.add(random_matrix(2, 7), random_matrix(2, 7)), ShapeError);
  Matrix<float> broken = o;
  broken(0, 0) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(importance.add(broken, o), NumericError);
  CHECK_THROWS_AS(importance.add(o, broken), NumericError);
  CHECK(importance.count() == 0);
}

TEST_CASE("expert saliency is the mean of gated norms over routed tokens") {
  ExpertSaliency saliency(3);
  // Norms 5 and 13, gates 0.5 and 1: (2.5 + 13) / 2; in two calls as in one.
  const std::vector<float> outputs{3, 4, 5, 12}, gates{0.5f, 1.0f};
  saliency.add(1, gates, MatrixView<const float>(outputs, {2, 2}));
  CHECK(saliency.scores()[1] == 7.75f);
  saliency.add(2, VectorView<const float>(gates.data(), {1}),
               MatrixView<const float>(outputs, {1, 2}));
  CHECK(saliency.scores()[2] == 2.5f);
  saliency.add(2, VectorView<const float>(gates.data() + 1, {1}),
               MatrixView<const float>(outputs.data() + 2, {1, 2}));
  CHECK(saliency.scores()[2] == 7.75f);
  CHECK(saliency.scores()[0] == 0.0f);  // never chosen
  CHECK(saliency.count(0) == 0);
  CHECK(saliency.count(2) == 2);

  const MatrixView<const float> two(outputs, {2, 2});
  CHECK_THROWS_AS(saliency.add(3, gates, two), ArgumentError);
  CHECK_THROWS_AS(saliency.add(-1, gates, two), ArgumentError);
  CHECK_THROWS_AS(saliency.count(3), ArgumentError);
  CHECK_THROWS_AS(saliency.add(0, std::vector<float>{1}, two), ShapeError);
  CHECK_THROWS_AS(
      saliency.add(0, std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}, two),
      NumericError);
  const std::vector<float> broken{1, 2, std::numeric_limits<float>::infinity(), 4};
  CHECK_THROWS_AS(saliency.add(0, gates, MatrixView<const float>(broken, {2, 2})), NumericError);
  CHECK(saliency.count(0) == 0);
  CHECK_THROWS_AS(ExpertSaliency(0), ArgumentError);
}

TEST_CASE("the experts with the lowest saliency go") {
  const std::vector<float> scores{5, 1, 4, 1, 3, 0, 7, 6};
  const auto removed = [&](double sparsity, RouterLimits limits = {}) {
    return reap_removed(scores, sparsity, limits);
  };
  CHECK(removed(0.125) == std::vector<Index>{5});
  CHECK(removed(0.25) == std::vector<Index>{1, 5});  // of equal ones the first
  CHECK(removed(0.49) == std::vector<Index>{1, 3, 5});
  CHECK(removed(0.75, {.top_k = 2}) == std::vector<Index>{0, 1, 2, 3, 4, 5});
  // Of each of two groups; 3 / 2 and 1 / 2 are rounded to the even number.
  CHECK(removed(0.5, {.groups = 2}) == std::vector<Index>{1, 3, 4, 5});
  CHECK(removed(0.375, {.groups = 2}) == std::vector<Index>{1, 3, 4, 5});
  CHECK(removed(0.3, {.groups = 2}) == std::vector<Index>{1, 5});
  CHECK_THROWS_AS(removed(0.125, {.groups = 2}), ArgumentError);
  CHECK_THROWS_AS(removed(0.0), ArgumentError);
  CHECK_THROWS_AS(removed(0.1), ArgumentError);
  CHECK_THROWS_AS(removed(0.75, {.top_k = 3}), ArgumentError);
  for (const double sparsity : {-0.5, 1.0, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(removed(sparsity), ArgumentError);
  CHECK_THROWS_AS(removed(0.5, {.groups = 3}), ArgumentError);
  CHECK_THROWS_AS(removed(0.5, {.groups = 0}), ArgumentError);
  CHECK_THROWS_AS(removed(0.5, {.top_k = 0}), ArgumentError);
  CHECK_THROWS_AS(reap_removed(std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}, 0.5),
                  NumericError);
}
