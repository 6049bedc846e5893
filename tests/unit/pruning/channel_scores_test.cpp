#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/pruning/removed_input_bias.hpp"
#include "pare/pruning/scores/channel_norm.hpp"
#include "pare/pruning/scores/fpgm.hpp"
#include "pare/pruning/scores/input_channel.hpp"
#include "pare/pruning/scores/taylor_channel.hpp"
#include "support/catch.hpp"
#include "support/pruning_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::PruningOracle;
using test::random_matrix;

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

void check_channels_equal(const Vector<float>& scores, const std::vector<float>& expected,
                          double tolerance = 1e-6) {
  REQUIRE(scores.size() == static_cast<Index>(expected.size()));
  for (Index c = 0; c < scores.size(); ++c)
    CHECK(static_cast<double>(scores[c]) ==
          Approx(static_cast<double>(expected[static_cast<std::size_t>(c)])).epsilon(tolerance));
}

/// Channels that stay when the lowest go, of equal ones the first.
std::vector<std::uint8_t> kept_channels(const Vector<float>& scores, Index removed) {
  Matrix<float> row({1, scores.size()});
  std::copy(scores.begin(), scores.end(), row.data());
  const Mask mask = test::lowest_removed(std::vector{row}, removed)[0];
  std::vector<std::uint8_t> kept;
  for (Index c = 0; c < scores.size(); ++c) kept.push_back(mask(0, c) ? 1 : 0);
  return kept;
}

template <std::size_t Rank>
Tensor<float, Rank> random_tensor(Shape<Rank> shape, std::uint64_t seed) {
  Tensor<float, Rank> t(shape);
  Random random(seed);
  for (float& v : t) v = random.normal();
  return t;
}

}  // namespace

TEST_CASE("channel norms agree with PyTorch's ln_structured") {
  const PruningOracle oracle;
  const Tensor<float, 4> conv = oracle.tensor<4>("ln.conv");
  const Matrix<float> linear = oracle.matrix("ln.linear");
  int cases = 0;
  for (const auto& [text, p] : {std::pair<std::string, double>{"1", 1.0},
                                {"2", 2.0},
                                {"inf", infinite},
                                {"-inf", -infinite}})
    for (const Index axis : {0, 1, -1})
      for (const std::string layer : {"conv", "linear"})
        for (const std::string amount : {"0.3", "4"}) {
          if (axis == -1 && (layer == "conv" || text != "2" || amount != "0.3")) continue;
          const std::string name =
              "ln." + layer + ".n" + text + ".dim" + std::to_string(axis) + "." + amount;
          CAPTURE(name);
          const Vector<float> norms =
              layer == "conv" ? channel_norms(conv, axis, p) : channel_norms(linear, axis, p);
          check_channels_equal(norms, oracle.values<float>(name + ".norms"));
          CHECK(kept_channels(norms, oracle.meta(name).at("removed").get<Index>()) ==
                oracle.values<std::uint8_t>(name + ".channel_kept"));
          ++cases;
        }
  CHECK(cases == 33);
}

TEST_CASE("channel norms of any rank, layout and power") {
  const Tensor<float, 3> t = random_tensor<3>({3, 5, 7}, 1);
  for (Index axis = 0; axis < 3; ++axis)
    for (const double p : {0.5, 1.0, 1.5, 2.0, 3.0, 40.0}) {
      const auto along = static_cast<std::size_t>(axis);
      const Vector<float> norms = channel_norms(t, axis, p);
      CHECK(channel_norms(t, axis - 3, p) == norms);
      for (Index c = 0; c < norms.size(); ++c) {
        double sum = 0.0;
        for (Index i = 0; i < 3; ++i)
          for (Index j = 0; j < 5; ++j)
            for (Index k = 0; k < 7; ++k)
              if (std::array{i, j, k}[along] == c)
                sum += std::pow(std::fabs(static_cast<double>(t(i, j, k))), p);
        CHECK(static_cast<double>(norms[c]) == Approx(std::pow(sum, 1.0 / p)).epsilon(1e-6));
      }
    }
  const Matrix<float> w = random_matrix(4, 6);
  const test::Strided<float> strided(w);
  CHECK(channel_norms(strided.view(), 1) == channel_norms(w, 1));
  CHECK(channel_norms(w.view().transposed(), 0) == channel_norms(w, 1));
  const Vector<float> gamma = channel_norms(random_tensor<1>({4}, 3), 0, 1.0);
  for (Index c = 0; c < 4; ++c) CHECK(gamma[c] == std::fabs(random_tensor<1>({4}, 3)[c]));

  Matrix<float> large({1, 4});
  large.fill(1e38f);
  CHECK(channel_norms(large, 0, 40.0)[0] == Approx(1e38 * std::pow(4.0, 1.0 / 40.0)));
  CHECK(channel_norms(large, 0, 2.0)[0] == Approx(2e38));
  CHECK_THROWS_AS(channel_norms(large, 0, 1.0), NumericError);
  for (const double p : {1.0, 2.0, 3.0, infinite, -infinite}) {
    CHECK(channel_norms(Matrix<float>({2, 3}), 0, p) == Vector<float>({2}));
    CHECK(channel_norms(Matrix<float>({2, 0}), 0, p) == Vector<float>({2}));
    CHECK(channel_norms(Matrix<float>({0, 3}), 0, p).size() == 0);
  }
}

TEST_CASE("channel scores refuse axes, norms and values that are none") {
  Matrix<float> w = random_matrix(4, 6);
  for (const Index axis : {-3, 2}) {
    CHECK_THROWS_AS(channel_norms(w, axis), ShapeError);
    CHECK_THROWS_AS(fpgm_scores(w, axis), ShapeError);
    CHECK_THROWS_AS(taylor_channel_scores(w, w, axis), ShapeError);
  }
  for (const double p : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THROWS_AS(channel_norms(w, 0, p), ArgumentError);
    CHECK_THROWS_AS(fpgm_scores(w, 0, p), ArgumentError);
  }
  CHECK_THROWS_AS(taylor_channel_scores(w, random_matrix(6, 4), 0), ShapeError);
  const Matrix<float> finite = w;
  w(2, 5) = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH(channel_norms(w, 0), ContainsSubstring("channel 2"));
  CHECK_THROWS_WITH(fpgm_scores(w, 1), ContainsSubstring("channel 5"));
  CHECK_THROWS_AS(taylor_channel_scores(w, finite, 0), NumericError);
  CHECK_THROWS_AS(taylor_channel_scores(finite, w, 0), NumericError);
}

TEST_CASE("Taylor scores of channels add up to those of groups") {
  const PruningOracle oracle;
  const Tensor<float, 4> w0 = oracle.tensor<4>("group.w0"), w1 = oracle.tensor<4>("group.w1"),
                         g0 = oracle.tensor<4>("group.g0"), g1 = oracle.tensor<4>("group.g1");
  const Matrix<float> w2 = oracle.matrix("group.w2"), g2 = oracle.matrix("group.g2");
  for (const auto& [text, reduction] : {std::pair{"element", TaylorReduction::sum_of_magnitudes},
                                        {"vector", TaylorReduction::magnitude_of_sum}}) {
    CAPTURE(text);
    const std::string suffix = std::string(".taylor_") + text + "_sum_raw.score";
    // Filters of the first convolution and what reads them; the norm between has no part there.
    Vector<float> a = taylor_channel_scores(w0, g0, 0, reduction);
    const Vector<float> readers = taylor_channel_scores(w1, g1, 1, reduction);
    for (Index c = 0; c < a.size(); ++c) a[c] += readers[c];
    check_channels_equal(a, oracle.values<float>("group.a" + suffix), 1e-5);
    // A channel of the second is read by 16 columns of the linear layer.
    Vector<float> b = taylor_channel_scores(w1, g1, 0, reduction);
    const Vector<float> columns = taylor_channel_scores(w2, g2, 1, reduction);
    for (Index c = 0; c < columns.size(); ++c) b[c / 16] += columns[c];
    check_channels_equal(b, oracle.values<float>("group.b" + suffix), 1e-5);
  }
}

TEST_CASE("reductions of Taylor scores differ as they say") {
  Matrix<float> w({2, 3}), g({2, 3});
  w.fill(2.0f);
  for (Index k = 0; k < 6; ++k) g.data()[k] = static_cast<float>(k % 3) - 1.5f;
  // Of both channels g w = -3, -1, 1.
  const auto score = [&](TaylorReduction reduction) {
    const Vector<float> scores = taylor_channel_scores(w, g, 0, reduction);
    CHECK(scores[0] == scores[1]);
    return scores[0];
  };
  CHECK(score(TaylorReduction::sum_of_magnitudes) == 5.0f);
  CHECK(score(TaylorReduction::magnitude_of_sum) == 3.0f);
  CHECK(score(TaylorReduction::sum_of_squares) == 11.0f);
  CHECK(score(TaylorReduction::square_of_sum) == 9.0f);
  const test::Strided<float> sw(w), sg(g);
  CHECK(taylor_channel_scores<2>(sw.view(), sg.view(), 1) == taylor_channel_scores(w, g, 1));
}

TEST_CASE("fpgm sums distances to the other channels") {
  // Points of the plane: distances 5, 5 and 6 (norm 2); 7, 7 and 6 (norm 1); 4, 4 and 6.
  Matrix<float> points({3, 2});
  points(1, 0) = 3.0f;
  points(1, 1) = 4.0f;
  points(2, 0) = -3.0f;
  points(2, 1) = 4.0f;
  check_channels_equal(fpgm_scores(points, 0), {10, 11, 11});
  check_channels_equal(fpgm_scores(points, 0, 1.0), {14, 13, 13});
  check_channels_equal(fpgm_scores(points, 0, infinite), {8, 10, 10});
  check_channels_equal(fpgm_scores(points.view().transposed(), 1), {10, 11, 11});

  // A shift of all channels changes nothing.
  Tensor<float, 4> conv = random_tensor<4>({5, 3, 3, 3}, 4);
  const Vector<float> scores = fpgm_scores(conv, 0);
  Tensor<float, 4> shifted = conv;
  for (float& v : shifted) v += 8.0f;
  for (Index c = 0; c < 5; ++c) {
    double sum = 0.0;
    for (Index d = 0; d < 5; ++d) {
      double squares = 0.0;
      for (Index k = 0; k < 27; ++k) {
        const double difference = static_cast<double>(conv.data()[c * 27 + k]) -
                                  static_cast<double>(conv.data()[d * 27 + k]);
        squares += difference * difference;
      }
      sum += std::sqrt(squares);
    }
    CHECK(static_cast<double>(scores[c]) == Approx(sum).epsilon(1e-6));
    CHECK(static_cast<double>(fpgm_scores(shifted, 0)[c]) == Approx(sum).epsilon(1e-5));
  }
  CHECK(fpgm_scores(conv, 1, 2.0, Execution{.parallel_for = OpenMpFor{}}) == fpgm_scores(conv, 1));
  CHECK(fpgm_scores(Matrix<float>({0, 4}), 0).size() == 0);
  CHECK(fpgm_scores(Matrix<float>({1, 4}), 0)[0] == 0.0f);
}

TEST_CASE("scores of input channels agree with FLAP's code") {
  const PruningOracle oracle;
  const Matrix<float> w = oracle.matrix("wanda.weight");
  check_channels_equal(wanda_channel_scores(w, oracle.values<float>("wanda.scaler_row")),
                       oracle.values<float>("flap.WIFN.scores"));
  check_channels_equal(flap_channel_scores(w, oracle.values<float>("flap.WIFV.fluc")),
                       oracle.values<float>("flap.WIFV.scores"));
}

TEST_CASE("scores of heads, standardized scores") {
  const std::vector<float> channels{1, -2, 3, 0, 0, 0.5f};
  check_channels_equal(flap_head_scores(channels, 2), {5, 9, 0.25f});
  check_channels_equal(flap_head_scores(channels, 6), {14.25f});
  for (const Index size : {0, -1, 4}) CHECK_THROWS_AS(flap_head_scores(channels, size), ShapeError);
  const std::vector<float> broken{1, std::numeric_limits<float>::quiet_NaN()};
  CHECK_THROWS_AS(flap_head_scores(broken, 1), NumericError);
  CHECK_THROWS_AS(standardized_scores(broken), NumericError);

  // Of mean 3; squares of 14 around it, over 3.
  const std::vector<float> scores{1, 2, 3, 6};
  const Vector<float> standardized = standardized_scores(scores);
  const double deviation = std::sqrt(14.0 / 3.0);
  for (Index c = 0; c < 4; ++c)
    CHECK(static_cast<double>(standardized[c]) ==
          Approx((static_cast<double>(scores[static_cast<std::size_t>(c)]) - 3.0) / deviation));
  CHECK(standardized_scores(std::vector<float>(7, 0.1f)) == Vector<float>({7}));
  CHECK(standardized_scores(std::vector<float>{5}) == Vector<float>({1}));
  CHECK(standardized_scores(std::vector<float>{}).size() == 0);
}

TEST_CASE("input channel scores by hand, and what they refuse") {
  Matrix<float> w({2, 3});
  for (Index k = 0; k < 6; ++k) w.data()[k] = static_cast<float>(k - 2);  // -2 -1 0 / 1 2 3
  const std::vector<float> norms{4, 9, 0};
  check_channels_equal(wanda_channel_scores(w, norms), {3, 4.5f, 0});
  check_channels_equal(flap_channel_scores(w, norms), {20, 45, 0});
  for (const float bad : {-1.0f, std::numeric_limits<float>::quiet_NaN()}) {
    CHECK_THROWS_AS(wanda_channel_scores(w, std::vector<float>{1, bad, 1}), NumericError);
    CHECK_THROWS_AS(flap_channel_scores(w, std::vector<float>{1, bad, 1}), NumericError);
  }
  CHECK_THROWS_AS(wanda_channel_scores(w, std::vector<float>{1, 1}), ShapeError);
  CHECK_THROWS_AS(flap_channel_scores(w, std::vector<float>{1, 1}), ShapeError);
  CHECK(wanda_channel_scores(Matrix<float>({0, 3}), norms) == Vector<float>({3}));
}

TEST_CASE("the mean of removed inputs becomes a bias") {
  Matrix<float> w({2, 3});
  for (Index k = 0; k < 6; ++k) w.data()[k] = static_cast<float>(k);  // 0 1 2 / 3 4 5
  const std::vector<float> mean{10, 1, -2};
  const std::vector<Index> removed{0, 2};
  check_channels_equal(removed_input_bias(w, mean, removed), {-4, 20});
  CHECK(removed_input_bias(w, mean, {}) == Vector<float>({2}));
  for (const Index channel : {-1, 3})
    CHECK_THROWS_AS(removed_input_bias(w, mean, std::vector<Index>{channel}), ArgumentError);
  CHECK_THROWS_AS(removed_input_bias(w, std::vector<float>{1, 2}, removed), ShapeError);
  CHECK_THROWS_AS(removed_input_bias(
                      w, std::vector<float>{1, 2, std::numeric_limits<float>::infinity()}, removed),
                  NumericError);
}
