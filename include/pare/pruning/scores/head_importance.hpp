#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"

namespace pare {

/// How much the loss depends on a factor on each head's output, of one layer.
///
///     I_h = sum over samples of |<dL/dO_h, O_h>| / tokens
///
/// O_h is what head h gives to the output projection, for all tokens of a sample. Samples are added
/// one by one: inside of one, signs cancel.
///
/// Accuracy  float64 sums
/// Source    Michel, Levy and Neubig, "Are Sixteen Heads Really Better than One?", 2019
class HeadImportance {
 public:
  /// Throws ArgumentError unless there are heads.
  explicit HeadImportance(Index heads) : sums_({std::max<Index>(heads, 0)}) {
    if (heads < 1) throw ArgumentError("a layer of " + std::to_string(heads) + " heads");
  }

  /// Adds a sample: outputs of all heads, one after the other in a row, and the gradient of the
  /// sample's loss with respect to them (tokens, heads * size). Throws ShapeError for others and
  /// NumericError naming an element that is not finite; nothing has changed then.
  void add(MatrixView<const float> outputs, MatrixView<const float> gradient) {
    if (outputs.shape() != gradient.shape() || outputs.cols() % heads() != 0)
      throw ShapeError("outputs of shape " + to_string(outputs.shape()) +
                       " and a gradient of shape " + to_string(gradient.shape()) + " are not of " +
                       std::to_string(heads()) + " heads");
    require_finite(outputs, "output of heads");
    require_finite(gradient, "gradient");
    const Index size = outputs.cols() / heads();
    for (Index h = 0; h < heads(); ++h) {
      double sum = 0.0;
      for (Index t = 0; t < outputs.rows(); ++t)
        for (Index j = h * size; j < (h + 1) * size; ++j)
          sum += static_cast<double>(outputs(t, j)) * static_cast<double>(gradient(t, j));
      sums_[h] += std::fabs(sum);
    }
    tokens_ += outputs.rows();
  }

  [[nodiscard]] Index heads() const noexcept { return sums_.size(); }
  /// Tokens seen.
  [[nodiscard]] Index count() const noexcept { return tokens_; }
  /// (heads). Throws ArgumentError when no token was seen, NumericError for one beyond float.
  [[nodiscard]] Vector<float> scores() const {
    if (tokens_ == 0) throw ArgumentError("the importance of heads has seen no token");
    Vector<float> result({heads()});
    for (Index h = 0; h < heads(); ++h) {
      result[h] = static_cast<float>(sums_[h] / static_cast<double>(tokens_));
      if (!is_finite(static_cast<double>(result[h])))
        throw NumericError("the importance of head " + std::to_string(h) + " is beyond float");
    }
    return result;
  }

 private:
  Vector<double> sums_;
  Index tokens_ = 0;
};

/// Makes the importances of layers comparable, as the authors do: each layer is divided by its
/// 2-norm, then the least of all becomes 0 and the largest 1.
///
/// Errors    NumericError naming a layer with an importance that is not finite
/// Edge      where all are alike, all become 0
inline void normalize_head_importance(std::span<const VectorView<float>> layers) {
  for (std::size_t l = 0; l < layers.size(); ++l)
    for (Index h = 0; h < layers[l].size(); ++h)
      if (!is_finite(static_cast<double>(layers[l][h])))
        throw NumericError("the importance of head " + std::to_string(h) + " of layer " +
                           std::to_string(l) + " is not finite");
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const VectorView<float>& layer : layers) {
    double squares = 0.0;
    for (Index h = 0; h < layer.size(); ++h)
      squares += static_cast<double>(layer[h]) * static_cast<double>(layer[h]);
    const double norm = std::sqrt(squares) + 1e-20;
    for (Index h = 0; h < layer.size(); ++h) {
      layer[h] = static_cast<float>(static_cast<double>(layer[h]) / norm);
      least = std::min(least, static_cast<double>(layer[h]));
      most = std::max(most, static_cast<double>(layer[h]));
    }
  }
  for (const VectorView<float>& layer : layers)
    for (Index h = 0; h < layer.size(); ++h)
      layer[h] = most > least
                     ? static_cast<float>((static_cast<double>(layer[h]) - least) / (most - least))
                     : 0.0f;
}

}  // namespace pare
