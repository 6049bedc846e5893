#include "pare/pruning/woodfisher.hpp"

#include <Eigen/LU>
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "pare/core/eigen.hpp"
#include "pare/core/parallel_openmp.hpp"
#include "pare/pruning/obs.hpp"
#include "support/catch.hpp"
#include "support/pruning_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

/// The two layers of the case and their Fisher matrices.
struct FisherCase {
  test::PruningOracle oracle;
  Matrix<float> w[2] = {oracle.matrix("fisher.w0"), oracle.matrix("fisher.w1")};
  Matrix<float> gradients = oracle.matrix("fisher.per_sample_grads");
  WoodFisher fisher[2];

  explicit FisherCase(const WoodFisherOptions& options)
      : fisher{{w[0].shape(), 40, options}, {w[1].shape(), 40, options}} {
    fisher[0].add(gradients.view().slice(1, 0, 48));
    // In two parts.
    fisher[1].add(gradients.view().slice(1, 48, 32).slice(0, 0, 13));
    fisher[1].add(gradients.view().slice(1, 48, 32).slice(0, 13, 27));
  }
};

}  // namespace

TEST_CASE("WoodFisher agrees with the authors' code") {
  struct Case {
    const char* name;
    WoodFisherOptions options;
  };
  for (const Case& test : {Case{"woodfisher", {.damping = 1e-3}},
                           Case{"woodfisher.split", {.damping = 1e-2, .chunk = 20}}}) {
    const std::string name = test.name;
    const FisherCase layers(test.options);
    const auto statistic = layers.oracle.values<float>(name + ".statistic");
    const auto diagonal = layers.oracle.values<float>(name + ".inverse_diag");
    for (std::size_t l = 0, begin = 0; l < 2; begin += 48, ++l) {
      const Matrix<float> scores = layers.fisher[l].scores(layers.w[l]);
      const Matrix<double> own = layers.fisher[l].inverse_diagonal();
      for (Index k = 0; k < scores.size(); ++k) {
        const std::size_t at = begin + static_cast<std::size_t>(k);
        CHECK(scores.data()[k] == Approx(statistic[at]).epsilon(1e-5));
        CHECK(own.data()[k] == Approx(diagonal[at]).epsilon(1e-5));
      }
    }
    for (const std::string sparsity : {"0.3", "0.6"}) {
      const std::string result = name + "." + sparsity;
      const auto kept = layers.oracle.values<std::uint8_t>(result + ".mask");
      const auto expected = layers.oracle.values<float>(result + ".updated_before_mask");
      const auto masked = layers.oracle.values<float>(result + ".result");
      // One threshold over both layers.
      const auto meta = layers.oracle.meta(result);
      std::vector<float> sorted;
      for (std::size_t l = 0; l < 2; ++l)
        for (const float score : layers.fisher[l].scores(layers.w[l])) sorted.push_back(score);
      std::sort(sorted.begin(), sorted.end());
      const float threshold = sorted[meta.at("removed").get<std::size_t>()];
      for (std::size_t l = 0, begin = 0; l < 2; begin += 48, ++l) {
        const Shape<2> shape = layers.w[l].shape();
        const Matrix<float> scores = layers.fisher[l].scores(layers.w[l]);
        Mask mask(shape[0], shape[1]);
        for (Index i = 0; i < shape[0]; ++i)
          for (Index j = 0; j < shape[1]; ++j) mask.set(i, j, scores(i, j) >= threshold);
        Matrix<float> moved =
            layers.fisher[l].compensated(layers.w[l], Mask(shape[0], shape[1]), mask);
        for (Index k = 0; k < moved.size(); ++k) {
          const std::size_t at = begin + static_cast<std::size_t>(k);
          CHECK(mask(k / shape[1], k % shape[1]) == (kept[at] != 0));
          CHECK(moved.data()[k] == Approx(expected[at]).epsilon(1e-4).margin(1e-6));
        }
        mask.apply(moved);
        for (Index k = 0; k < moved.size(); ++k)
          CHECK(moved.data()[k] ==
                Approx(masked[begin + static_cast<std::size_t>(k)]).epsilon(1e-4).margin(1e-6));
      }
    }
  }
  const FisherCase layers({.damping = 1e-3});
  for (std::size_t l = 0; l < 2; ++l) {
    const Matrix<float> inverse = layers.oracle.matrix("woodfisher.inverse" + std::to_string(l));
    for (Index k = 0; k < inverse.size(); ++k)
      CHECK(layers.fisher[l].inverse(0).data()[k] ==
            Approx(inverse.data()[k]).epsilon(1e-4).margin(1e-2));
  }
}

TEST_CASE("WoodFisher inverts the Fisher matrix of each chunk") {
  const Index rows = 3, cols = 7, samples = 9;
  const Matrix<float> gradients = test::random_matrix(samples, rows * cols, 3);
  for (const Index chunk : {1, 4, 21, 100}) {
    WoodFisher fisher({rows, cols}, samples, {.damping = 0.1, .chunk = chunk});
    fisher.add(gradients);
    const Eigen::MatrixXd g = eigen_map(gradients.view()).cast<double>();
    const Eigen::MatrixXd full = g.transpose() * g / static_cast<double>(samples);
    for (Index c = 0; c < fisher.chunks(); ++c) {
      const Index n = fisher.inverse(c).rows();
      Eigen::MatrixXd block = full.block(c * chunk, c * chunk, n, n);
      block.diagonal().array() += 0.1;
      const Eigen::MatrixXd inverse = eigen_map(fisher.inverse(c).view());
      CHECK((block * inverse - Eigen::MatrixXd::Identity(n, n)).cwiseAbs().maxCoeff() < 1e-10);
    }
  }
}

TEST_CASE("a single removal is that of OBS") {
  WoodFisher fisher({2, 5}, 6, {.damping = 0.05});
  fisher.add(test::random_matrix(6, 10, 1));
  const Matrix<float> w = test::random_matrix(2, 5, 2);
  Mask after(2, 5);
  after.set(1, 2, false);
  const Matrix<float> moved = fisher.compensated(w, Mask(2, 5), after);
  Vector<double> flat({10});
  for (Index k = 0; k < 10; ++k) flat[k] = w.data()[k];
  const Index removed[] = {7};
  const ObsRemoval expected = obs_remove(flat, fisher.inverse(0), removed);
  for (Index k = 0; k < 10; ++k)
    CHECK(moved.data()[k] == Approx(expected.weight[k]).epsilon(1e-5).margin(1e-6));
  CHECK(0.5 * fisher.scores(w)(1, 2) == Approx(expected.cost).epsilon(1e-5));
  // What was removed before neither costs nor moves anything.
  CHECK(fisher.scores(w, after)(1, 2) == 0.0f);
  CHECK(fisher.compensated(w, after, after) == w);
  const Matrix<float> half = fisher.compensated(w, Mask(2, 5), after, 0.5);
  CHECK(half(1, 2) == Approx(0.5f * w(1, 2)));
}

TEST_CASE("WoodFisher does not depend on threads") {
  const Matrix<float> gradients = test::random_matrix(5, 300, 1);
  WoodFisher serial({10, 30}, 5, {.chunk = 64}), parallel({10, 30}, 5, {.chunk = 64});
  serial.add(gradients);
  parallel.add(gradients, {.parallel_for = OpenMpFor(3)});
  CHECK(serial.inverse_diagonal() == parallel.inverse_diagonal());
}

TEST_CASE("WoodFisher refuses what means nothing") {
  CHECK_THROWS_AS(WoodFisher({2, 3}, 0), ArgumentError);
  CHECK_THROWS_AS(WoodFisher({2, 3}, 1, {.damping = 0.0}), ArgumentError);
  CHECK_THROWS_AS(WoodFisher({2, 3}, 1, {.chunk = 0}), ArgumentError);
  CHECK_THROWS_WITH(WoodFisher({2, 3}, 1, {.chunk = 4096}), ContainsSubstring("4096"));
  WoodFisher fisher({2, 3}, 2);
  CHECK_THROWS_AS(fisher.add(Matrix<float>({1, 5})), ShapeError);
  CHECK_THROWS_AS(fisher.add(Matrix<float>({3, 6})), ArgumentError);
  Matrix<float> gradients({1, 6});
  gradients(0, 3) = std::nanf("");
  CHECK_THROWS_AS(fisher.add(gradients), NumericError);
  CHECK_THROWS_AS(fisher.scores(Matrix<float>({3, 2})), ShapeError);
  CHECK_THROWS_AS(fisher.scores(Matrix<float>({2, 3}), Mask(2, 2)), ShapeError);
}
