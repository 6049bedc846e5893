#include "pare/pruning/scores/synflow.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/pruning_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::PruningOracle;
using test::random_matrix;

namespace {

using Layers = std::vector<Matrix<double>>;

/// A chain of linear layers with biases of magnitudes `biases` (or none), of which R is the sum of
/// outputs for an input of ones; between positive numbers a ReLU does nothing.
class FlowOfLinears {
 public:
  explicit FlowOfLinears(std::vector<std::vector<double>> biases = {})
      : biases_(std::move(biases)) {}

  Layers operator()(std::span<const Matrix<double>> layers) {
    std::vector<std::vector<double>> inputs{
        std::vector<double>(static_cast<std::size_t>(layers[0].cols()), 1.0)};
    for (std::size_t l = 0; l < layers.size(); ++l) {
      std::vector<double> y;
      for (Index i = 0; i < layers[l].rows(); ++i) {
        double sum = biases_.empty() ? 0.0 : biases_[l][static_cast<std::size_t>(i)];
        for (Index j = 0; j < layers[l].cols(); ++j)
          sum += layers[l](i, j) * inputs[l][static_cast<std::size_t>(j)];
        y.push_back(sum);
      }
      inputs.push_back(std::move(y));
    }
    flow = 0.0;
    for (const double y : inputs.back()) flow += y;
    std::vector<double> upstream(inputs.back().size(), 1.0);
    Layers gradients(layers.size());
    for (std::size_t l = layers.size(); l-- > 0;) {
      gradients[l] = Matrix<double>(layers[l].shape());
      std::vector<double> next(static_cast<std::size_t>(layers[l].cols()));
      for (Index i = 0; i < layers[l].rows(); ++i)
        for (Index j = 0; j < layers[l].cols(); ++j) {
          const auto in = static_cast<std::size_t>(j);
          gradients[l](i, j) = upstream[static_cast<std::size_t>(i)] * inputs[l][in];
          next[in] += upstream[static_cast<std::size_t>(i)] * layers[l](i, j);
        }
      upstream = std::move(next);
    }
    return gradients;
  }

  double flow = 0.0;

 private:
  std::vector<std::vector<double>> biases_;
};

/// A convolution of 3 x 3 with padding 1: where its taps read and write.
struct FlowConvolution {
  Index in, out, size, stride;
  [[nodiscard]] Index out_size() const { return (size + 2 - 3) / stride + 1; }

  /// Calls f(output, weight row, weight column, input) for every tap that lies in the image.
  template <class F>
  void for_each_tap(const F& f) const {
    for (Index o = 0; o < out; ++o)
      for (Index y = 0; y < out_size(); ++y)
        for (Index x = 0; x < out_size(); ++x)
          for (Index i = 0; i < in; ++i)
            for (Index k = 0; k < 9; ++k) {
              const Index v = y * stride + k / 3 - 1, u = x * stride + k % 3 - 1;
              if (v >= 0 && v < size && u >= 0 && u < size)
                f(static_cast<std::size_t>((o * out_size() + y) * out_size() + x), o, i * 9 + k,
                  static_cast<std::size_t>((i * size + v) * size + u));
            }
  }
};

/// conv 2-4, conv 4-6 of stride 2, linear 54-4, with biases, on images of 6 x 6.
Layers flow_of_convolutions(std::span<const Matrix<double>> layers,
                            const std::vector<std::vector<double>>& biases) {
  const FlowConvolution convolutions[] = {{2, 4, 6, 1}, {4, 6, 6, 2}};
  std::vector<std::vector<double>> values{std::vector<double>(72, 1.0)};
  for (std::size_t l = 0; l < 2; ++l) {
    const FlowConvolution& c = convolutions[l];
    const Index pixels = c.out_size() * c.out_size();
    std::vector<double> y(static_cast<std::size_t>(c.out * pixels));
    for (Index k = 0; k < c.out * pixels; ++k)
      y[static_cast<std::size_t>(k)] = biases[l][static_cast<std::size_t>(k / pixels)];
    c.for_each_tap([&](std::size_t to, Index row, Index column, std::size_t from) {
      y[to] += layers[l](row, column) * values[l][from];
    });
    values.push_back(std::move(y));
  }
  Layers gradients;
  for (const Matrix<double>& layer : layers) gradients.emplace_back(layer.shape());
  std::vector<double> upstream(54);
  for (Index i = 0; i < 4; ++i)
    for (Index j = 0; j < 54; ++j) {
      gradients[2](i, j) = values[2][static_cast<std::size_t>(j)];
      upstream[static_cast<std::size_t>(j)] += layers[2](i, j);
    }
  for (std::size_t l = 2; l-- > 0;) {
    std::vector<double> next(values[l].size());
    convolutions[l].for_each_tap([&](std::size_t to, Index row, Index column, std::size_t from) {
      gradients[l](row, column) += upstream[to] * values[l][from];
      next[from] += upstream[to] * layers[l](row, column);
    });
    upstream = std::move(next);
  }
  return gradients;
}

std::vector<std::vector<double>> bias_magnitudes(const PruningOracle& oracle,
                                                 const std::string& net) {
  std::vector<std::vector<double>> biases;
  for (int l = 0; l < 3; ++l) {
    std::vector<double>& layer = biases.emplace_back();
    for (const float b : oracle.values<float>("init." + net + ".bias" + std::to_string(l)))
      layer.push_back(std::fabs(static_cast<double>(b)));
  }
  return biases;
}

double sum_of(const Matrix<double>& m) {
  double sum = 0.0;
  for (const double v : m) sum += v;
  return sum;
}

Index total_kept(const std::vector<Mask>& masks) {
  Index kept = 0;
  for (const Mask& mask : masks) kept += mask.kept();
  return kept;
}

std::vector<Index> kept_per_layer(const std::vector<Mask>& masks) {
  std::vector<Index> kept;
  for (const Mask& mask : masks) kept.push_back(mask.kept());
  return kept;
}

}  // namespace

TEST_CASE("synflow agrees with the authors' code, round by round") {
  const PruningOracle oracle;
  for (const std::string net : {"mlp", "conv"}) {
    const std::vector<Matrix<float>> weights = oracle.matrices("init." + net + ".weight", 3);
    const std::vector<MatrixView<const float>> views = test::views_of(weights);
    const std::vector<std::vector<double>> biases = bias_magnitudes(oracle, net);
    const auto network = [&](std::span<const Matrix<double>> layers) {
      return net == "mlp" ? FlowOfLinears(biases)(layers) : flow_of_convolutions(layers, biases);
    };
    for (const std::string density : {"0.2", "0.03"}) {
      CAPTURE(net, density);
      const std::string name = "synflow." + net + "." + density;
      const double sparsity = 1.0 - std::stod(density);
      std::vector<Index> remaining;
      const auto watched = [&](std::span<const Matrix<double>> layers) {
        Index kept = 0;
        for (const Matrix<double>& layer : layers)
          for (const double v : layer) kept += v != 0.0;
        remaining.push_back(kept);
        return network(layers);
      };
      const std::vector<Mask> masks = synflow(views, watched, {.sparsity = sparsity});
      CHECK(masks == oracle.masks(name + ".mask", 3));
      CHECK(kept_per_layer(masks) ==
            oracle.meta(name).at("remaining_per_layer").get<std::vector<Index>>());
      remaining.erase(remaining.begin());
      remaining.push_back(total_kept(masks));
      const auto expected = oracle.values<std::int64_t>(name + ".remaining");
      CHECK(remaining == std::vector<Index>(expected.begin(), expected.end()));

      const std::vector<Mask> one_shot =
          synflow(views, network, {.sparsity = sparsity, .rounds = 1, .allow_empty_layers = true});
      CHECK(kept_per_layer(one_shot) ==
            oracle.meta(name + ".one_shot").at("remaining_per_layer").get<std::vector<Index>>());
    }
    for (const std::string round : {"1", "50", "100"}) {
      CAPTURE(net, round);
      const std::string name = "synflow." + net + ".0.03.round" + round;
      const std::vector<Mask> before = oracle.masks(name + ".mask_before", 3);
      const Layers scores = synflow_scores(views, before, network);
      const Layers expected = oracle.matrices<double>(name + ".score", 3, "_f64");
      for (std::size_t l = 0; l < 3; ++l)
        for (Index k = 0; k < scores[l].size(); ++k)
          CHECK(scores[l].data()[k] == Approx(expected[l].data()[k]).epsilon(1e-12).margin(1e-300));
      const double density = 1.0 - exponential_sparsity(std::stoi(round), 100, 0.97);
      Index size = 0;
      for (const Mask& mask : before) size += mask.size();
      std::vector<Mask> after = before;
      detail::remove_lowest_flow(
          scores, static_cast<Index>(std::floor((1.0 - density) * static_cast<double>(size))),
          false, after);
      CHECK(after == oracle.masks(name + ".mask_after", 3));
    }
  }
}

TEST_CASE("flow is conserved: without biases the scores of every layer sum up to R") {
  const std::vector<Matrix<float>> weights{random_matrix(7, 5, 1), random_matrix(3, 7, 2),
                                           random_matrix(4, 3, 3)};
  FlowOfLinears network;
  std::vector<Mask> masks{Mask(7, 5), Mask(3, 7), Mask(4, 3)};
  masks[1].set(2, 3, false);
  const Layers scores = synflow_scores(test::views_of(weights), masks, network);
  for (const Matrix<double>& layer : scores)
    CHECK(sum_of(layer) == Approx(network.flow).epsilon(1e-12));
  CHECK(scores[1](2, 3) == 0.0);
}

TEST_CASE("synflow keeps layers alive, and what is removed removed") {
  // One weight carries nearly all: in one round the others, a whole layer, would go.
  std::vector<Matrix<float>> weights{random_matrix(1, 40, 1), random_matrix(1, 1, 2),
                                     random_matrix(40, 1, 3)};
  const auto views = test::views_of(weights);
  for (const Index rounds : {1, 3, 100})
    for (const double sparsity : {0.0, 0.5, 0.9, 0.96, 1.0}) {
      CAPTURE(rounds, sparsity);
      FlowOfLinears network;
      const std::vector<Mask> masks =
          synflow(views, network, {.sparsity = sparsity, .rounds = rounds});
      for (const Mask& mask : masks) CHECK(mask.kept() >= 1);
      const auto asked = 81 - static_cast<Index>(std::floor(sparsity * 81.0));
      CHECK(total_kept(masks) == std::max<Index>(3, asked));
    }
  FlowOfLinears network;
  CHECK(total_kept(synflow(views, network, {.sparsity = 1.0, .allow_empty_layers = true})) == 0);
  CHECK(total_kept(synflow(views, network, {.sparsity = 0.5, .rounding = CountRounding::up})) ==
        40);

  std::vector<Mask> within{Mask(1, 40), Mask(1, 1), Mask(40, 1)};
  for (Index j = 0; j < 30; ++j) within[0].set(0, j, false);
  const std::vector<Mask> masks =
      synflow(views, network, {.sparsity = 0.5, .rounds = 10, .within = within});
  CHECK(total_kept(masks) == 81 - 40);
  for (std::size_t l = 0; l < 3; ++l) CHECK((masks[l] & within[l]) == masks[l]);
  // What is asked for is gone already.
  CHECK(synflow(views, network, {.sparsity = 0.2, .within = within}) == within);
}

TEST_CASE("of equal flows the lowest layer and index go first") {
  Matrix<float> ones({2, 2});
  ones.fill(1.0f);
  const std::vector<Matrix<float>> weights{ones, ones};
  FlowOfLinears network;
  const std::vector<Mask> masks =
      synflow(test::views_of(weights), network, {.sparsity = 0.25, .rounds = 1});
  CHECK(masks[0].removed() == 2);
  CHECK_FALSE(masks[0](0, 0));
  CHECK_FALSE(masks[0](0, 1));
  CHECK(masks[1].removed() == 0);
}

TEST_CASE("synflow refuses what it cannot score") {
  const std::vector<Matrix<float>> weights{random_matrix(3, 2, 1), random_matrix(2, 3, 2)};
  const auto views = test::views_of(weights);
  FlowOfLinears network;
  for (const double sparsity : {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN()})
    CHECK_THROWS_AS(synflow(views, network, {.sparsity = sparsity}), ArgumentError);
  CHECK_THROWS_AS(synflow(views, network, {.rounds = 0}), ArgumentError);
  const std::vector<Mask> one(1, Mask(3, 2)), transposed{Mask(2, 3), Mask(2, 3)};
  CHECK_THROWS_AS(synflow(views, network, {.within = one}), ShapeError);
  CHECK_THROWS_AS(synflow(views, network, {.within = transposed}), ShapeError);
  const auto too_few = [](std::span<const Matrix<double>>) { return Layers(1); };
  CHECK_THROWS_AS(synflow(views, too_few, {}), ShapeError);
  const auto misshapen = [](std::span<const Matrix<double>> layers) {
    return Layers(layers.size(), Matrix<double>({2, 3}));
  };
  CHECK_THROWS_AS(synflow(views, misshapen, {}), ShapeError);
  const auto overflowing = [](std::span<const Matrix<double>> layers) {
    Layers gradients;
    for (const Matrix<double>& layer : layers) gradients.emplace_back(layer.shape());
    gradients[1](1, 2) = std::numeric_limits<double>::infinity();
    return gradients;
  };
  CHECK_THROWS_AS(synflow(views, overflowing, {}), NumericError);
  CHECK_THROWS_WITH(synflow(views, overflowing, {}), ContainsSubstring("[1, 2] of layer 1"));
  std::vector<Matrix<float>> broken = weights;
  broken[1](0, 1) = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(synflow(test::views_of(broken), network, {}), NumericError);
  CHECK(synflow({}, network, {}).empty());
}
