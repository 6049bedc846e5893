// Which weights a network can do without before it is trained: a small convolutional network for
// digits loses 90 % of its weights at once, those with the lowest scores of all layers together,
// and what is left is trained. SNIP asks how much the loss depends on a weight, GraSP how much its
// gradient does, SynFlow how much of what flows through the network passes it, without any data.
// Then winning tickets: the largest weights of the trained network, and the most important ones to
// second order, are trained again, from where they began and from new values. Means over seeds
// with their standard errors. Takes a minute; with a number of seeds, of 10, and of steps, less.
//
//   gradient_pruning [SEEDS [STEPS]]

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "labs/digit_network.hpp"
#include "labs/mean_with_error.hpp"
#include "labs/program.hpp"
#include "pare/pruning/global_selection.hpp"
#include "pare/pruning/scores/fisher.hpp"
#include "pare/pruning/scores/grasp.hpp"
#include "pare/pruning/scores/magnitude.hpp"
#include "pare/pruning/scores/random.hpp"
#include "pare/pruning/scores/snip.hpp"
#include "pare/pruning/scores/synflow.hpp"

namespace {

using lab::Network;
using pare::Index;
using pare::Mask;
using pare::Matrix;
using Masks = std::vector<Mask>;

/// The masks that leave the highest scores of all layers.
Masks select(double sparsity, std::size_t layers,
             const std::function<Matrix<float>(std::size_t)>& scores) {
  Masks masks(layers);
  pare::select_global<float>(
      static_cast<Index>(layers), [&](Index l) { return scores(static_cast<std::size_t>(l)); },
      {.sparsity = sparsity, .least_kept = 1},
      [&](Index l, Mask mask) { masks[static_cast<std::size_t>(l)] = std::move(mask); });
  return masks;
}

void run(std::uint64_t seeds, std::int64_t steps, const pare::Execution& execution) {
  const lab::Digits seen("calib.safetensors"), others("eval.safetensors");
  /// Trains what masks leave of a network, and tells how many of the other digits it reads.
  const auto trained = [&](Network<float>& network, const Masks& masks, std::uint64_t seed) {
    lab::train(network, masks, seen, steps, seed, execution);
    return 100.0 * lab::accuracy(network, others, execution);
  };
  using Score = std::function<Masks(const Network<float>&, double sparsity, std::uint64_t seed)>;
  const auto of_weights = [&](const auto& score) -> Score {
    return [&, score](const Network<float>& network, double sparsity, std::uint64_t seed) {
      return select(sparsity, network.layers().size(), [&](std::size_t l) {
        return score(network.parameters()[network.layers()[l]].value, seed + l);
      });
    };
  };
  const Score snip = [&](const Network<float>& network, double sparsity, std::uint64_t) {
    const auto g = lab::gradients(network, seen, execution);
    return select(sparsity, g.size(), [&](std::size_t l) {
      return pare::snip_scores(network.parameters()[network.layers()[l]].value, g[l]);
    });
  };
  const Score grasp = [&](const Network<float>& network, double sparsity, std::uint64_t) {
    const auto hg = lab::hessian_gradients(network, seen, execution);
    return select(sparsity, hg.size(), [&](std::size_t l) {
      return pare::grasp_scores(network.parameters()[network.layers()[l]].value, hg[l]);
    });
  };
  const Score fisher = [&](const Network<float>& network, double sparsity, std::uint64_t) {
    const auto squares = lab::squared_gradients(network, seen, execution);
    return select(sparsity, squares.size(), [&](std::size_t l) {
      return pare::fisher_scores(network.parameters()[network.layers()[l]].value, squares[l]);
    });
  };
  const Score magnitude =
      of_weights([](const Matrix<float>& w, std::uint64_t) { return pare::magnitude_scores(w); });
  const Score random = of_weights([](const Matrix<float>& w, std::uint64_t seed) {
    return pare::random_scores({w.rows(), w.cols()}, 1000 + seed);
  });
  const Score synflow = [](const Network<float>& network, double sparsity, std::uint64_t) {
    std::vector<pare::MatrixView<const float>> weights;
    for (const std::size_t p : network.layers()) weights.push_back(network.parameters()[p].value);
    const auto flow = [&](std::span<const Matrix<double>> magnitudes) {
      return lab::flow_gradients(network, magnitudes);
    };
    return pare::synflow(weights, flow, {.sparsity = sparsity});
  };

  lab::MeanWithError whole;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    Network<float> network = lab::digit_network<float>(seed);
    whole.add(trained(network, {}, seed));
  }
  std::printf("%td weights, %llu seeds, %lld steps\n",
              lab::weights_of(lab::digit_network<float>(0)), static_cast<unsigned long long>(seeds),
              static_cast<long long>(steps));
  whole.print("all weights");
  std::printf("90 %% removed before training by\n");
  for (const auto& [name, score] : {std::pair("random", random),
                                    {"magnitude", magnitude},
                                    {"snip", snip},
                                    {"grasp", grasp},
                                    {"synflow", synflow}}) {
    lab::MeanWithError reached;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      Network<float> network = lab::digit_network<float>(seed);
      const Masks masks = score(network, 0.9, 100 * seed);
      reached.add(trained(network, masks, seed));
    }
    reached.print(name);
  }
  for (const double sparsity : {0.9, 0.95, 0.98}) {
    lab::MeanWithError rewound, anew, second;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
      Network<float> dense = lab::digit_network<float>(seed);
      lab::train(dense, {}, seen, steps, seed, execution);
      const Masks ticket = magnitude(dense, sparsity, 0), by_fisher = fisher(dense, sparsity, 0);
      Network<float> same = lab::digit_network<float>(seed);
      rewound.add(trained(same, ticket, seed));
      Network<float> other = lab::digit_network<float>(seed + 5000);
      anew.add(trained(other, ticket, seed));
      Network<float> important = lab::digit_network<float>(seed);
      second.add(trained(important, by_fisher, seed));
    }
    std::printf("%.0f %% removed after training, the rest trained again from\n", 100.0 * sparsity);
    rewound.print("its first values (a ticket)");
    anew.print("new values, the same weights");
    second.print("its first values, second order");
    const double error = std::hypot(rewound.error(), anew.error());
    std::printf("  a winning ticket: %s\n",
                rewound.mean() - anew.mean() > 2.0 * error ? "yes" : "no");
  }
}

}  // namespace

int main(int argc, char** argv) {
  return lab::program("gradient_pruning", [&](const pare::Execution& execution) {
    run(argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10, argc > 2 ? std::atol(argv[2]) : 120,
        execution);
  });
}
