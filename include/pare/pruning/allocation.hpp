#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"

/// How many weights each layer loses. Sparsity is the share that is removed. Where layers share one
/// budget by scores that can be compared (LAMP's are meant to be), a global selection allocates.
namespace pare {

namespace detail {

inline void require_sparsity(double sparsity) {
  if (!(sparsity >= 0.0 && sparsity <= 1.0))
    throw ArgumentError("a sparsity of " + std::to_string(sparsity) + " is outside [0, 1]");
}

}  // namespace detail

/// The same for each. Throws ArgumentError for a sparsity outside [0, 1] or a negative number.
[[nodiscard]] inline std::vector<double> uniform_sparsity(Index layers, double sparsity) {
  detail::require_sparsity(sparsity);
  if (layers < 0) throw ArgumentError("there are " + std::to_string(layers) + " layers");
  return std::vector<double>(static_cast<std::size_t>(layers), sparsity);
}

/// Erdős–Rényi kernel: large layers become sparser than small ones.
///
///     density_l = min(1, e * (sum of the extents of l) / (number of weights of l))
///
/// with the e for which all layers together have the sparsity asked for. Where some reach 1 the
/// others get what is left.
///
/// Shapes    the extents of each layer's weight: (out, in) or (out, in, height, width)
/// Values    sparsities in the order of the layers; a layer without weights has 0
/// Errors    ArgumentError for a sparsity outside [0, 1]; ShapeError for a negative extent
/// Source    Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
///           connectivity inspired by network science", 2018; Evci et al., "Rigging the Lottery",
///           2020
[[nodiscard]] inline std::vector<double> erk_sparsity(std::span<const std::vector<Index>> shapes,
                                                      double sparsity) {
  detail::require_sparsity(sparsity);
  struct Layer {
    double weights = 1.0, extents = 0.0;
    bool is_dense = false;
  };
  std::vector<Layer> layers(shapes.size());
  double budget = 0.0;
  for (std::size_t l = 0; l < shapes.size(); ++l) {
    for (const Index extent : shapes[l]) {
      if (extent < 0) throw ShapeError("layer " + std::to_string(l) + " has a negative extent");
      layers[l].weights *= static_cast<double>(extent);
      layers[l].extents += static_cast<double>(extent);
    }
    layers[l].is_dense = layers[l].weights == 0.0;
    budget += (1.0 - sparsity) * layers[l].weights;
  }
  // What a layer keeps is e * extents. One that wants more than it has wants it with any larger e,
  // and making it dense enlarges e.
  double e = 0.0;
  for (bool changed = true; changed;) {
    changed = false;
    double left = budget, extents = 0.0;
    for (const Layer& layer : layers) {
      if (layer.is_dense)
        left -= layer.weights;
      else
        extents += layer.extents;
    }
    e = extents > 0.0 ? left / extents : 0.0;
    for (Layer& layer : layers)
      if (!layer.is_dense && e * layer.extents >= layer.weights) layer.is_dense = changed = true;
  }
  std::vector<double> result;
  result.reserve(layers.size());
  for (const Layer& layer : layers)
    result.push_back(layer.is_dense ? 0.0 : 1.0 - e * layer.extents / layer.weights);
  return result;
}

/// The percentage of outliers among the Wanda scores of one block's layers: those above `multiple`
/// times the mean of them all.
///
/// Shapes    scores(layer): a matrix, or a view of one, for each layer of the block, of the model
///           before it was pruned
/// Edge      each is asked for twice, and let go before the next: one layer's are in memory
/// Errors    ArgumentError without scores, or unless `multiple` is finite; NumericError naming a
///           score that is not finite
/// Source    Yin et al., "Outlier Weighed Layerwise Sparsity (OWL)", 2023
template <class ScoresOf>
[[nodiscard]] double owl_outlier_percent(Index layers, ScoresOf&& scores, double multiple = 5.0) {
  if (!is_finite(multiple))
    throw ArgumentError("the multiple of the mean is " + std::to_string(multiple));
  double sum = 0.0;
  Index count = 0, outliers = 0;
  for (Index layer = 0; layer < layers; ++layer) {
    const auto& own = scores(layer);
    const MatrixView<const float> view = own;
    require_finite(view, "the matrix of scores");
    for (Index i = 0; i < view.rows(); ++i)
      for (Index j = 0; j < view.cols(); ++j) sum += static_cast<double>(view(i, j));
    count += view.size();
  }
  if (count == 0) throw ArgumentError("a block without scores has no outliers");
  const double limit = multiple * (sum / static_cast<double>(count));
  for (Index layer = 0; layer < layers; ++layer) {
    const auto& own = scores(layer);
    const MatrixView<const float> view = own;
    for (Index i = 0; i < view.rows(); ++i)
      for (Index j = 0; j < view.cols(); ++j) outliers += static_cast<double>(view(i, j)) > limit;
  }
  return 100.0 * static_cast<double>(outliers) / static_cast<double>(count);
}

/// The same of matrices that are in memory together.
///
/// Shapes    scores: a matrix for each layer of the block
/// Errors    ArgumentError without scores, or unless `multiple` is finite; NumericError naming a
///           score that is not finite
/// Source    Yin et al., "Outlier Weighed Layerwise Sparsity (OWL)", 2023
[[nodiscard]] inline double owl_outlier_percent(std::span<const MatrixView<const float>> scores,
                                                double multiple = 5.0) {
  return owl_outlier_percent(
      std::ssize(scores), [&](Index layer) { return scores[static_cast<std::size_t>(layer)]; },
      multiple);
}

/// OWL: blocks with more outliers lose less. Their percentages, brought to [0, 2 lambda], are what
/// a block keeps more than the mean block.
///
///     sparsity_l = sparsity + mean(D) - D_l,   D = 2 lambda (d - min d) / (max d - min d)
///
/// Values    the mean over blocks is `sparsity`; each is meant for all layers of its block
/// Errors    ArgumentError for a sparsity outside [0, 1], a negative lambda, and one with which a
///           block would keep more than all or less than nothing; NumericError for a percentage
///           that is not finite
/// Edge      where all have like percentages, each has the same sparsity
/// Source    as owl_outlier_percent
[[nodiscard]] inline std::vector<double> owl_sparsity(std::span<const double> outlier_percent,
                                                      double sparsity, double lambda = 0.08) {
  detail::require_sparsity(sparsity);
  if (!is_finite(lambda) || lambda < 0.0)
    throw ArgumentError("OWL's lambda is " + std::to_string(lambda));
  for (std::size_t l = 0; l < outlier_percent.size(); ++l)
    if (!is_finite(outlier_percent[l]))
      throw NumericError("the outliers of block " + std::to_string(l) + " are not finite");
  std::vector<double> result(outlier_percent.size(), sparsity);
  if (result.empty()) return result;
  const auto [least, most] = std::minmax_element(outlier_percent.begin(), outlier_percent.end());
  if (*least == *most) return result;
  double mean = 0.0;
  for (std::size_t l = 0; l < result.size(); ++l) {
    result[l] = (outlier_percent[l] - *least) / (*most - *least) * 2.0 * lambda;
    mean += result[l] / static_cast<double>(result.size());
  }
  for (std::size_t l = 0; l < result.size(); ++l) {
    result[l] = 1.0 - (result[l] - mean + (1.0 - sparsity));
    if (result[l] < 0.0 || result[l] > 1.0)
      throw ArgumentError("with a lambda of " + std::to_string(lambda) + " block " +
                          std::to_string(l) + " would have a sparsity of " +
                          std::to_string(result[l]));
  }
  return result;
}

}  // namespace pare
