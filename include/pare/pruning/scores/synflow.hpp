#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "pare/core/function_ref.hpp"
#include "pare/formats/mask.hpp"
#include "pare/pruning/schedule.hpp"
#include "pare/pruning/score.hpp"
#include "pare/solvers/removed_count.hpp"

namespace pare {

/// A network seen by SynFlow: it is given |w|, 0 where removed, for each layer, and returns dR/dw
/// for each. R is the sum of its outputs for an input of ones, where every other parameter and
/// buffer (biases, running statistics of batch norms) is replaced by its magnitude as well and
/// batch norms use their running statistics.
using SynflowNetwork =
    FunctionRef<std::vector<Matrix<double>>(std::span<const Matrix<double>> magnitudes)>;

struct SynflowOptions {
  /// The share that is removed, of all layers together.
  double sparsity = 0.5;
  /// Scores are found anew so many times; of few, layers may lose all.
  Index rounds = 100;
  CountRounding rounding = CountRounding::down;
  /// Whether a layer may lose all its weights. Otherwise its best one stays, so that fewer go than
  /// were asked for where nothing else is left.
  bool allow_empty_layers = false;
  /// What is removed already stays removed, and counts; empty: nothing is.
  std::span<const Mask> within{};
};

namespace detail {

[[nodiscard]] inline std::vector<Mask> synflow_masks(
    std::span<const MatrixView<const float>> weights, std::span<const Mask> within) {
  if (!within.empty() && within.size() != weights.size())
    throw ShapeError(std::to_string(within.size()) + " masks do not fit " +
                     std::to_string(weights.size()) + " layers");
  std::vector<Mask> masks;
  masks.reserve(weights.size());
  for (std::size_t l = 0; l < weights.size(); ++l) {
    require_finite(weights[l], "weight of layer " + std::to_string(l));
    if (!within.empty()) require_shape_of_weight(within[l].shape(), weights[l].shape(), "mask");
    masks.push_back(within.empty() ? Mask(weights[l].rows(), weights[l].cols()) : within[l]);
  }
  return masks;
}

/// Removes the lowest scores of all layers until `removed` are gone. Of equal ones the lowest layer
/// and index go first.
inline void remove_lowest_flow(std::span<const Matrix<double>> scores, Index removed,
                               bool allow_empty_layers, std::vector<Mask>& masks) {
  using Entry = std::tuple<double, std::size_t, Index>;
  std::vector<Entry> kept;
  for (std::size_t l = 0; l < masks.size(); ++l) {
    removed -= masks[l].removed();
    const std::size_t first = kept.size();
    for (Index i = 0; i < masks[l].rows(); ++i)
      for (Index j = 0; j < masks[l].cols(); ++j)
        if (masks[l](i, j)) kept.emplace_back(scores[l](i, j), l, i * masks[l].cols() + j);
    if (!allow_empty_layers && kept.size() > first) {
      const auto begin = kept.begin() + static_cast<Index>(first);
      std::iter_swap(std::max_element(begin, kept.end()), kept.end() - 1);
      kept.pop_back();
    }
  }
  removed = std::min(removed, std::ssize(kept));
  if (removed <= 0) return;
  std::nth_element(kept.begin(), kept.begin() + (removed - 1), kept.end());
  for (auto entry = kept.begin(); entry != kept.begin() + removed; ++entry) {
    const auto& [score, layer, position] = *entry;
    masks[layer].set(position / masks[layer].cols(), position % masks[layer].cols(), false);
  }
}

[[nodiscard]] inline std::vector<Matrix<double>> synflow_round(
    std::span<const MatrixView<const float>> weights, std::span<const Mask> masks,
    SynflowNetwork network) {
  std::vector<Matrix<double>> magnitudes;
  magnitudes.reserve(weights.size());
  for (std::size_t l = 0; l < weights.size(); ++l) {
    Matrix<double>& layer = magnitudes.emplace_back(weights[l].shape());
    for (Index i = 0; i < layer.rows(); ++i)
      for (Index j = 0; j < layer.cols(); ++j)
        layer(i, j) = masks[l](i, j) ? std::fabs(at(weights[l], i, j)) : 0.0;
  }
  std::vector<Matrix<double>> scores = network(magnitudes);
  if (scores.size() != weights.size())
    throw ShapeError("the network has returned " + std::to_string(scores.size()) +
                     " gradients for " + std::to_string(weights.size()) + " layers");
  for (std::size_t l = 0; l < scores.size(); ++l) {
    require_shape_of_weight(scores[l].shape(), weights[l].shape(), "gradient");
    for (Index i = 0; i < scores[l].rows(); ++i)
      for (Index j = 0; j < scores[l].cols(); ++j) {
        double& score = scores[l](i, j);
        score = std::fabs(score * magnitudes[l](i, j));
        if (!is_finite(score))
          throw NumericError("the synaptic flow at " + to_string(Shape<2>{i, j}) + " of layer " +
                             std::to_string(l) +
                             " is not finite: scale the layers of a deep network down");
      }
  }
  return scores;
}

}  // namespace detail

/// The scores of one round: |w dR/dw|, 0 where a weight is removed. Within a layer of a network
/// without biases they sum up to R.
///
/// Shapes    a matrix and, unless `masks` is empty, a mask for each layer
/// Errors    as synflow
[[nodiscard]] inline std::vector<Matrix<double>> synflow_scores(
    std::span<const MatrixView<const float>> weights, std::span<const Mask> masks,
    SynflowNetwork network) {
  return detail::synflow_round(weights, detail::synflow_masks(weights, masks), network);
}

/// Prunes a network by how much its weights carry, without data: in rounds, in which the share that
/// stays shrinks by the same factor (exponential_sparsity), the lowest scores of all layers go.
///
/// Shapes    a matrix for each layer, a convolution as (out, in * height * width)
/// Values    sparsity * weights, by default rounded down, are gone at the end, whatever was removed
/// already included; of
///           equal scores the lowest layer and index go first. What is removed stays removed
/// Errors    ShapeError; ArgumentError for a sparsity outside [0, 1] or no rounds; NumericError
///           naming a weight, or the flow through one, that is not finite (of a deep network R
///           overflows: a factor on a layer changes no order)
/// Accuracy  float64
/// Source    Tanaka et al., "Pruning neural networks without any data by iteratively conserving
///           synaptic flow", 2020
[[nodiscard]] inline std::vector<Mask> synflow(std::span<const MatrixView<const float>> weights,
                                               SynflowNetwork network,
                                               const SynflowOptions& options = {}) {
  // Before the work: an option that is none.
  (void)exponential_sparsity(0, options.rounds, options.sparsity);
  std::vector<Mask> masks = detail::synflow_masks(weights, options.within);
  Index size = 0;
  for (const MatrixView<const float>& w : weights) size += w.size();
  if (size == 0) return masks;
  for (Index round = 1; round <= options.rounds; ++round) {
    const double sparsity = exponential_sparsity(round, options.rounds, options.sparsity);
    const Index removed = removed_count(size, sparsity, options.rounding);
    const std::vector<Matrix<double>> scores = detail::synflow_round(weights, masks, network);
    detail::remove_lowest_flow(scores, removed, options.allow_empty_layers, masks);
  }
  return masks;
}

}  // namespace pare
