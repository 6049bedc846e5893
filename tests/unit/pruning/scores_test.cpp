#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/pruning/scores/all.hpp"
#include "support/catch.hpp"
#include "support/pruning_oracle.hpp"
#include "support/random_matrix.hpp"
#include "support/tolerance.hpp"

using namespace pare;
using test::PruningOracle;
using test::random_matrix;

namespace {

constexpr double score_tolerance = 1e-5;

/// What every score of the list asks for, made of the same matrices.
struct ScoreInputs {
  Matrix<float> w, gradient, curvature;
  Vector<float> norms;

  ScoreInputs(Index rows, Index cols)
      : w(random_matrix(rows, cols, 1)),
        gradient(random_matrix(rows, cols, 2)),
        curvature(random_matrix(rows, cols, 3)),
        norms({cols}) {
    for (float& c : curvature) c = std::fabs(c);
    for (Index j = 0; j < cols; ++j) norms[j] = static_cast<float>(j % 5) + 0.25f;
  }

  template <class Inputs>
  [[nodiscard]] static Inputs of(MatrixView<const float> w, MatrixView<const float> gradient,
                                 MatrixView<const float> curvature, VectorView<const float> norms) {
    if constexpr (std::is_same_v<Inputs, Weights>)
      return {w};
    else if constexpr (std::is_same_v<Inputs, WeightsAndInputs>)
      return {w, norms};
    else if constexpr (std::is_same_v<Inputs, WeightsAndCurvature>)
      return {w, curvature};
    else if constexpr (std::is_same_v<Inputs, WeightsGradientAndCurvature>)
      return {w, gradient, curvature};
    else if constexpr (std::is_same_v<Inputs, TrainedScores>)
      return {w};
    else
      return {w, gradient};
  }
  template <class Inputs>
  [[nodiscard]] Inputs as() const {
    return of<Inputs>(w, gradient, curvature, norms.view());
  }
};

/// The formula of each score in plain double, where one weight needs no other.
double formula(std::string_view name, double w, double g, double c, double s) {
  if (name == "magnitude") return std::fabs(w);
  if (name == "wanda") return std::fabs(w) * std::sqrt(s);
  if (name == "snip" || name == "taylor") return std::fabs(g * w);
  if (name == "taylor_squared") return g * w * g * w;
  if (name == "grasp") return w * g;
  if (name == "fisher" || name == "obd") return 0.5 * c * w * w;
  if (name == "taylor_second") return w * c * w;
  if (name == "taylor_mixed") return std::fabs(g * w - 0.5 * w * c * w);
  if (name == "movement") return w;
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

TEST_CASE("scores of one weight are their formulas, on every shape and layout") {
  for (const Shape<2>& shape : {Shape<2>{1, 1}, {3, 17}, {5, 33}, {0, 4}, {4, 0}}) {
    const Index rows = shape[0], cols = shape[1];
    const ScoreInputs inputs(rows, cols);
    const test::Strided<float> w(inputs.w), gradient(inputs.gradient), curvature(inputs.curvature);
    for_each_type(AllScores{}, [&]<class S>(TypeTag<S>) {
      CAPTURE(S::name, rows, cols);
      using Inputs = typename S::Inputs;
      const Matrix<float> scores = S{}(inputs.template as<Inputs>());
      REQUIRE(scores.shape() == inputs.w.shape());
      const Matrix<float> strided = S{}(ScoreInputs::of<Inputs>(
          w.view(), gradient.view(), curvature.view(), inputs.norms.view()));
      CHECK(strided == scores);
      const Matrix<float> threaded =
          S{}(inputs.template as<Inputs>(), Execution{.parallel_for = OpenMpFor{}});
      CHECK(threaded == scores);
      for (Index i = 0; i < rows; ++i)
        for (Index j = 0; j < cols; ++j) {
          const double expected = formula(S::name, static_cast<double>(inputs.w(i, j)),
                                          static_cast<double>(inputs.gradient(i, j)),
                                          static_cast<double>(inputs.curvature(i, j)),
                                          static_cast<double>(inputs.norms[j]));
          if (!std::isnan(expected))
            CHECK(static_cast<double>(scores(i, j)) == Approx(expected).epsilon(1e-6));
        }
    });
  }
}

TEST_CASE("scores are found by name") {
  const ScoreInputs inputs(4, 6);
  std::set<std::string_view> names;
  for_each_type(AllScores{}, [&]<class S>(TypeTag<S>) {
    static_assert(Score<S>);
    CHECK(names.insert(S::name).second);
    CHECK(with_score(S::name, [&]<class T>(TypeTag<T>) { return std::is_same_v<S, T>; }));
  });
  CHECK(names.size() == 14);
  CHECK_THROWS_WITH(with_score("magnitud", [](auto) { return 0; }),
                    StartsWith("no score is named \"magnitud\"; there are magnitude, random, "));
}

TEST_CASE("scores refuse what is not finite and shapes that do not fit") {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  for_each_type(AllScores{}, [&]<class S>(TypeTag<S>) {
    CAPTURE(S::name);
    using Inputs = typename S::Inputs;
    if constexpr (std::is_same_v<S, RandomScore>) return;
    for (const float bad : {nan, infinity, -infinity}) {
      ScoreInputs inputs(3, 5);
      inputs.w(1, 2) = bad;
      CHECK_THROWS_AS(S{}(inputs.template as<Inputs>()), NumericError);
      CHECK_THROWS_WITH(S{}(inputs.template as<Inputs>()), ContainsSubstring("[1, 2]"));
    }
    const ScoreInputs inputs(3, 5), other(3, 4);
    if constexpr (
        requires { Inputs::gradient; } || requires { Inputs::hessian_gradient; } ||
        requires { Inputs::curvature; }) {
      CHECK_THROWS_AS(S{}(ScoreInputs::of<Inputs>(inputs.w, other.gradient, other.curvature,
                                                  inputs.norms.view())),
                      ShapeError);
      ScoreInputs broken(3, 5);
      broken.gradient(2, 0) = nan;
      broken.curvature(2, 0) = infinity;
      CHECK_THROWS_AS(S{}(broken.template as<Inputs>()), NumericError);
    }
    if constexpr (std::is_same_v<Inputs, WeightsAndInputs>) {
      CHECK_THROWS_AS(S{}(WeightsAndInputs{inputs.w, other.norms.view()}), ShapeError);
      for (const float bad : {nan, infinity, -1.0f}) {
        ScoreInputs broken(3, 5);
        broken.norms[3] = bad;
        CHECK_THROWS_WITH(S{}(broken.template as<Inputs>()),
                          StartsWith("the squared norm of input 3"));
      }
    }
  });
  // Beyond float.
  Matrix<float> large({1, 1});
  large.fill(1e30f);
  CHECK_THROWS_AS(taylor_scores(large, large), NumericError);
  CHECK_THROWS_AS(obd_scores(large, large), NumericError);
  Matrix<float> negative({1, 1});
  negative.fill(-1.0f);
  CHECK_THROWS_AS(fisher_scores(large, negative), NumericError);
  CHECK_THROWS_AS(taylor_second_scores(negative, negative), NumericError);
  CHECK(obd_scores(negative, negative)(0, 0) == -0.5f);
  for (const double exponent :
       {-0.5, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    CHECK_THROWS_AS(ria_scores(negative, Vector<float>({1}).view(), {.exponent = exponent}),
                    ArgumentError);
}

TEST_CASE("random scores depend on the seed and the shape only") {
  const Matrix<float> scores = random_scores({40, 50}, 7);
  CHECK(scores == random_scores({40, 50}, 7));
  CHECK_FALSE(scores == random_scores({40, 50}, 8));
  double mean = 0.0;
  for (const float score : scores) {
    CHECK((score >= 0.0f && score < 1.0f));
    mean += static_cast<double>(score) / 2000.0;
  }
  CHECK(mean == Approx(0.5).margin(0.03));
  CHECK(RandomScore{.seed = 7}({random_matrix(40, 50)}) == scores);
  CHECK_THROWS_AS(random_scores({-1, 2}, 0), ShapeError);
}

TEST_CASE("lamp agrees with the authors' code, within layers and between them") {
  const PruningOracle oracle;
  const std::vector<Matrix<float>> weights = oracle.matrices("lamp.w", 3);
  const std::vector<Matrix<float>> expected = oracle.matrices("lamp.score", 3);
  std::vector<Matrix<float>> scores;
  for (std::size_t l = 0; l < 3; ++l) {
    scores.push_back(lamp_scores(weights[l]));
    CHECK(test::relative_difference(scores[l], expected[l]) <= 1e-6);
    CHECK(*std::max_element(scores[l].begin(), scores[l].end()) == 1.0f);
  }
  for (const char* const sparsity : {"0.5", "0.8", "0.95"}) {
    CAPTURE(sparsity);
    const std::string name = std::string("lamp.") + sparsity;
    const auto removed = oracle.meta(name).at("removed").get<std::vector<Index>>();
    CHECK(test::lowest_removed(scores, removed[0] + removed[1] + removed[2]) ==
          oracle.masks(name + ".mask", 3));
  }
}

TEST_CASE("lamp of equal weights, zeros and one weight") {
  Matrix<float> w({2, 3});
  CHECK(lamp_scores(w) == w);
  w.fill(-2.0f);
  w(1, 2) = 0.0f;
  const Matrix<float> scores = lamp_scores(w);
  for (Index k = 0; k < 5; ++k)
    CHECK(scores.data()[k] == Approx(1.0 / static_cast<double>(5 - k)).epsilon(1e-7));
  CHECK(scores(1, 2) == 0.0f);
  CHECK(lamp_scores(random_matrix(1, 1))(0, 0) == 1.0f);
  // A factor on a layer changes nothing.
  const Matrix<float> plain = random_matrix(7, 9);
  Matrix<float> scaled = plain;
  for (float& v : scaled) v *= 0x1p-20f;
  CHECK(lamp_scores(scaled) == lamp_scores(plain));
}

TEST_CASE("wanda agrees with the authors' code") {
  const PruningOracle oracle;
  const Matrix<float> w = oracle.matrix("wanda.weight");
  const std::vector<float> norms = oracle.values<float>("wanda.scaler_row");
  const Matrix<float> scores = wanda_scores(w, norms);
  CHECK(test::relative_difference(scores, oracle.matrix("wanda.scores")) <= 1e-6);
  for (const char* const name : {"wanda.row.0.5", "wanda.row.0.6", "wanda.row.0.7"}) {
    CAPTURE(name);
    const Index removed = oracle.meta(name).at("removed_per_row");
    CHECK(test::lowest_removed_of_groups(scores, w.cols(), removed) ==
          oracle.mask(std::string(name) + ".mask"));
  }
  for (const char* const name : {"wanda.1:4", "wanda.2:4", "wanda.4:8"}) {
    CAPTURE(name);
    const Index group = oracle.meta(name).at("group"), keep = oracle.meta(name).at("keep");
    CHECK(test::lowest_removed_of_groups(scores, group, group - keep) ==
          oracle.mask(std::string(name) + ".mask"));
  }
}

TEST_CASE("wanda of the fact sheet, and with like inputs") {
  const Matrix<float> w(MatrixView<const float>(
      std::vector<float>{0.5f, -1.0f, 0.25f, 2.0f, 1.0f, 0.3f, -0.7f, -0.2f}, {2, 4}));
  const std::vector<float> norms{1.25f, 1.4f, 1.4f, 0.8f};
  const std::vector<double> expected{0.559017, 1.183216, 0.295804, 1.788854,
                                     1.118034, 0.354965, 0.828251, 0.178885};
  const Matrix<float> scores = wanda_scores(w, norms);
  for (std::size_t k = 0; k < expected.size(); ++k)
    CHECK(static_cast<double>(scores.data()[k]) == Approx(expected[k]).margin(1e-6));
  CHECK(wanda_scores(w, std::vector<float>{1, 1, 1, 1}) == magnitude_scores(w));
}

TEST_CASE("ria agrees with the authors' code") {
  const PruningOracle oracle;
  const Matrix<float> w = oracle.matrix("wanda.weight");
  const std::vector<float> norms = oracle.values<float>("wanda.scaler_row");
  const Matrix<float> scores = ria_scores(w, norms);
  CHECK(test::relative_difference(scores, oracle.matrix("ria.2:4.scores")) <= 1e-6);
  CHECK(test::lowest_removed_of_groups(scores, 4, 2) == oracle.mask("ria.2:4.mask"));
  for (const char* const name : {"ria.0.5", "ria.0.7"}) {
    CAPTURE(name);
    const Index removed = oracle.meta(name).at("removed");
    CHECK(test::lowest_removed(std::vector{scores}, removed)[0] ==
          oracle.mask(std::string(name) + ".mask"));
  }
}

TEST_CASE("ria with lines of zeros, and other exponents") {
  Matrix<float> w = random_matrix(5, 6);
  for (Index i = 0; i < 5; ++i) w(i, 2) = 0.0f;
  for (Index j = 0; j < 6; ++j) w(3, j) = 0.0f;
  const std::vector<float> norms{4, 0, 9, 1, 16, 2};
  for (const double exponent : {0.0, 0.5, 1.0, 2.0}) {
    const Matrix<float> scores = ria_scores(w, norms, {.exponent = exponent});
    for (Index i = 0; i < 5; ++i)
      for (Index j = 0; j < 6; ++j) {
        double row = 0.0, column = 0.0;
        for (Index k = 0; k < 6; ++k) row += static_cast<double>(std::fabs(w(i, k)));
        for (Index k = 0; k < 5; ++k) column += static_cast<double>(std::fabs(w(k, j)));
        const double v = static_cast<double>(std::fabs(w(i, j)));
        const double norm = std::sqrt(static_cast<double>(norms[static_cast<std::size_t>(j)]));
        const double expected = v == 0.0 ? 0.0 : (v / row + v / column) * std::pow(norm, exponent);
        CHECK(static_cast<double>(scores(i, j)) == Approx(expected).epsilon(1e-6));
      }
  }
  CHECK(Ria{.options = {.exponent = 1.0}}({w, norms}) == ria_scores(w, norms, {.exponent = 1.0}));
}

TEST_CASE("snip and grasp agree with two implementations each") {
  const PruningOracle oracle;
  for (const std::string net : {"mlp", "conv"}) {
    const std::vector<Matrix<float>> weights = oracle.matrices("init." + net + ".weight", 3),
                                     gradients = oracle.matrices("init." + net + ".grad", 3);
    std::vector<Matrix<float>> snip;
    Index size = 0;
    for (std::size_t l = 0; l < 3; ++l) {
      snip.push_back(snip_scores(weights[l], gradients[l]));
      size += snip[l].size();
    }
    const auto grasp_of = [&](const std::string& products) {
      const std::vector<Matrix<float>> hg = oracle.matrices(products, 3);
      std::vector<Matrix<float>> scores;
      for (std::size_t l = 0; l < 3; ++l) scores.push_back(grasp_scores(weights[l], hg[l]));
      return scores;
    };
    const std::vector<Matrix<float>> grasp = grasp_of("grasp." + net + ".0.5.hg");
    for (const std::string density : {"0.5", "0.1"}) {
      CAPTURE(net, density);
      for (const auto& [method, scores] :
           {std::pair{"snip", &std::as_const(snip)}, std::pair{"grasp", &grasp}}) {
        const std::string name = std::string(method) + "." + net + "." + density;
        CAPTURE(method);
        CHECK(test::lowest_removed(*scores, oracle.meta(name).at("removed").get<Index>()) ==
              oracle.masks(name + ".mask", 3));
      }
    }
    CAPTURE(net);
    std::string name = "snip_original." + net + ".0.3";
    CHECK(test::lowest_removed(snip, size - oracle.meta(name).at("kept").get<Index>()) ==
          oracle.masks(name + ".mask", 3));
    name = "grasp_original." + net + ".0.7";
    CHECK(test::lowest_removed(grasp_of(name + ".hg"),
                               oracle.meta(name).at("removed").get<Index>()) ==
          oracle.masks(name + ".mask", 3));

    // Their scores are normalized: SNIP's by the sum of all, GraSP's by the magnitude of the sum.
    std::vector<MatrixView<float>> layers(snip.begin(), snip.end());
    CHECK(normalize_snip(layers) > 0.0);
    double total = 0.0, grasp_sum = 0.0;
    for (std::size_t l = 0; l < 3; ++l) {
      const std::string layer = std::to_string(l);
      CHECK(test::relative_difference(
                snip[l], oracle.matrix("snip." + net + ".0.5.score" + layer)) <= score_tolerance);
      for (const float score : snip[l]) total += static_cast<double>(score);
      for (const float score : grasp[l]) grasp_sum += static_cast<double>(score);
    }
    CHECK(total == Approx(1.0).epsilon(1e-6));
    for (std::size_t l = 0; l < 3; ++l) {
      Matrix<float> normalized = grasp[l];
      for (float& score : normalized)
        score = static_cast<float>(static_cast<double>(score) / (std::fabs(grasp_sum) + 1e-10));
      CHECK(test::relative_difference(
                normalized, oracle.matrix("grasp." + net + ".0.5.score" + std::to_string(l))) <=
            1e-4);  // the sum of numbers of both signs was stored rounded
    }
  }
}

TEST_CASE("normalize_snip leaves zeros and refuses what is no score") {
  Matrix<float> a({1, 2}), b({2, 1});
  const std::vector<MatrixView<float>> layers{a, b};
  CHECK(normalize_snip(layers) == 0.0);
  CHECK(a == Matrix<float>({1, 2}));
  a(0, 1) = 3.0f;
  b(1, 0) = 1.0f;
  CHECK(normalize_snip(layers) == 4.0);
  CHECK(a(0, 1) == 0.75f);
  CHECK(b(1, 0) == 0.25f);
  b(0, 0) = -1.0f;
  CHECK_THROWS_AS(normalize_snip(layers), NumericError);
}

TEST_CASE("second orders agree with what autograd gives") {
  const PruningOracle oracle;
  const Matrix<float> first = oracle.matrix("fisher.w0"), second = oracle.matrix("fisher.w1");
  Matrix<float> w({1, first.size() + second.size()});
  std::copy(first.begin(), first.end(), w.begin());
  std::copy(second.begin(), second.end(), w.begin() + first.size());
  const Matrix<float> samples = oracle.matrix("fisher.per_sample_grads");
  FisherDiagonal fisher(w.shape()), one_half(w.shape()), other_half(w.shape());
  Matrix<float> gradient(w.shape());
  std::vector<double> sums(static_cast<std::size_t>(w.size()));
  for (Index s = 0; s < samples.rows(); ++s) {
    const MatrixView<const float> sample(&samples(s, 0), w.shape());
    fisher.add(sample);
    (s < 13 ? one_half : other_half).add(sample);
    for (Index k = 0; k < w.size(); ++k)
      sums[static_cast<std::size_t>(k)] += static_cast<double>(sample(0, k)) / 40.0;
  }
  for (Index k = 0; k < w.size(); ++k)
    gradient.data()[k] = static_cast<float>(sums[static_cast<std::size_t>(k)]);
  CHECK(fisher.count() == 40);
  one_half.merge(other_half);
  CHECK(one_half.count() == 40);
  const Matrix<float> mean = fisher.mean();
  CHECK(test::relative_difference(one_half.mean(), mean) <= 1e-6);

  const auto agrees = [&](const Matrix<float>& scores, const char* name) {
    CAPTURE(name);
    CHECK(test::relative_difference(scores, oracle.matrix(std::string("fisher.") + name)) <= 1e-6);
  };
  agrees(taylor_scores(w, gradient), "taylor");
  agrees(taylor_squared_scores(w, gradient), "taylor_squared");
  agrees(fisher_scores(w, mean), "diagonal_fisher");
  agrees(obd_scores(w, oracle.matrix("fisher.hessian_diag")), "obd");
  agrees(taylor_second_scores(w, mean), "llm_pruner_second");
  agrees(taylor_mixed_scores(w, gradient, mean), "llm_pruner_mix");
}

TEST_CASE("the Fisher diagonal refuses what does not fit and stays as it was") {
  FisherDiagonal fisher({2, 3});
  CHECK_THROWS_AS(fisher.mean(), ArgumentError);
  CHECK_THROWS_AS(fisher.add(random_matrix(3, 2)), ShapeError);
  CHECK_THROWS_AS(fisher.merge(FisherDiagonal({3, 2})), ShapeError);
  fisher.add(random_matrix(2, 3));
  const Matrix<float> mean = fisher.mean();
  Matrix<float> broken = random_matrix(2, 3);
  broken(1, 1) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(fisher.add(broken), NumericError);
  CHECK(fisher.mean() == mean);
  CHECK(fisher.count() == 1);
  // The mean of squares is not the square of the mean.
  FisherDiagonal signs({1, 1});
  Matrix<float> one({1, 1});
  one(0, 0) = 2.0f;
  signs.add(one);
  one(0, 0) = -2.0f;
  signs.add(one);
  CHECK(signs.mean()(0, 0) == 4.0f);
  CHECK_THROWS_AS(FisherDiagonal({-1, 2}), ShapeError);
}
