#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "pare/core/function_ref.hpp"
#include "pare/formats/mask.hpp"
#include "pare/pruning/schedule.hpp"
#include "pare/pruning/score.hpp"
#include "pare/solvers/removed_count.hpp"
#include "pare/solvers/smallest_keys.hpp"

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
  using Key = order_key_of<double>;
  std::vector<Key> keys;
  Index may_go = 0;
  for (std::size_t l = 0; l < masks.size(); ++l) {
    const std::size_t first = keys.size();
    for (Index i = 0; i < masks[l].rows(); ++i)
      for (Index j = 0; j < masks[l].cols(); ++j)
        keys.push_back(masks[l](i, j) ? order_key(scores[l](i, j)) : removed_key<Key>);
    may_go += masks[l].size();
    if (allow_empty_layers || masks[l].kept() == 0) continue;
    // The last of equal ones would have been the last to go.
    *std::max_element(keys.rbegin(), keys.rend() - static_cast<Index>(first)) = ~Key{0};
    --may_go;
  }
  removed = std::min(removed, may_go);
  if (removed <= 0) return;
  SmallestKeys<Key> smallest = smallest_keys(std::span<const Key>(keys), removed);
  auto key = keys.begin();
  for (Mask& mask : masks)
    for (Index i = 0; i < mask.rows(); ++i)
      for (Index j = 0; j < mask.cols(); ++j)
        if (smallest.take(*key++)) mask.set(i, j, false);
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
/// Values    sparsity * weights, by default rounded down, are gone at the end, those that were gone
///           before included; of equal scores the lowest layer and index go first. What is removed
///           stays removed
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
