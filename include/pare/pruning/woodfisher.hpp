#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/tensor.hpp"
#include "pare/formats/mask.hpp"
#include "pare/kernels/execution.hpp"

namespace pare {

struct WoodFisherOptions {
  /// lambda of the damped Fisher matrix.
  double damping = 1e-3;
  /// Weights that share a block of the Fisher matrix: what follows in a row-major weight.
  Index chunk = 2048;
};

/// The inverse of the empirical Fisher matrix of a weight, block by block, kept up to date as
/// gradients of single samples come in.
///
///     F = (1 / N) sum of g gᵀ + lambda I;  v = F^-1 g;  F^-1 -= v vᵀ / (N + gᵀ v)
///
/// Removing weights one by one is then priced by w_q^2 / [F^-1]_qq, and all removals move the rest
/// by the sum of what each would.
///
/// Memory    chunk doubles for each weight
/// Cost      2 chunk operations for each weight and gradient
/// Accuracy  float64
/// Order     independent of the number of threads
/// Source    Singh and Alistarh, "WoodFisher", 2020
class WoodFisher {
 public:
  static constexpr Index largest_chunk = 2048;

  /// For weights of a shape (rows, cols) and N gradients. Throws ShapeError for a negative extent,
  /// ArgumentError when N or lambda is not positive or a chunk not within [1, 2048].
  WoodFisher(Shape<2> shape, Index samples, const WoodFisherOptions& options = {})
      : shape_(shape), samples_(samples), chunk_(options.chunk) {
    const Index size = element_count(shape);
    if (samples < 1)
      throw ArgumentError("a Fisher matrix of " + std::to_string(samples) + " gradients");
    if (!(options.damping > 0.0) || !is_finite(options.damping))
      throw ArgumentError("damping " + std::to_string(options.damping) + " is not positive");
    if (options.chunk < 1 || options.chunk > largest_chunk)
      throw ArgumentError("a chunk of " + std::to_string(options.chunk) +
                          " weights is not within 1 to " + std::to_string(largest_chunk));
    for (Index begin = 0; begin < size; begin += chunk_) {
      const Index length = std::min(chunk_, size - begin);
      Matrix<double>& inverse = inverses_.emplace_back(Shape<2>{length, length});
      for (Index j = 0; j < length; ++j) inverse(j, j) = 1.0 / options.damping;
    }
  }

  [[nodiscard]] const Shape<2>& shape() const noexcept { return shape_; }
  /// Gradients that were added, of samples() that are expected.
  [[nodiscard]] Index count() const noexcept { return count_; }
  [[nodiscard]] Index samples() const noexcept { return samples_; }

  /// Adds gradients, (any number, rows * cols): each of a sample, or the mean over a mini-batch.
  /// Inside a schedule those of removed weights are to be 0. Throws ShapeError for another width,
  /// ArgumentError for more than samples(), NumericError naming one that is not finite.
  void add(MatrixView<const float> gradients, const Execution& execution = {}) {
    if (gradients.cols() != shape_[0] * shape_[1])
      throw ShapeError("gradients of shape " + to_string(gradients.shape()) +
                       " do not fit weights of shape " + to_string(shape_));
    if (gradients.rows() > samples_ - count_)
      throw ArgumentError("the Fisher matrix expects " + std::to_string(samples_) +
                          " gradients, and has " + std::to_string(count_) + " of them");
    require_finite(gradients, "gradient");
    execution.parallel_for(std::ssize(inverses_), [&](Index c) {
      Matrix<double>& inverse = inverses_[static_cast<std::size_t>(c)];
      const Index length = inverse.rows();
      std::vector<double> g(static_cast<std::size_t>(length)), v(g.size());
      for (Index s = 0; s < gradients.rows(); ++s) {
        for (Index j = 0; j < length; ++j)
          g[static_cast<std::size_t>(j)] = static_cast<double>(gradients(s, c * chunk_ + j));
        add_to(inverse, g.data(), v.data());
      }
    });
    count_ += gradients.rows();
  }

  /// [F^-1]_qq, of the shape of the weights.
  [[nodiscard]] Matrix<double> inverse_diagonal() const {
    Matrix<double> diagonal(shape_);
    for_weights([&](Index k, const Matrix<double>& inverse, Index j) {
      diagonal.data()[k] = inverse(j, j);
    });
    return diagonal;
  }

  /// The block of chunk c of F^-1.
  [[nodiscard]] const Matrix<double>& inverse(Index c) const {
    return inverses_[static_cast<std::size_t>(c)];
  }
  [[nodiscard]] Index chunks() const noexcept { return std::ssize(inverses_); }

  /// The price of each weight, low = unimportant: (w^2 / ([F^-1]_qq + e) + e), e = 1e-10, and 0 for
  /// what `kept` lacks. Throws ShapeError; NumericError naming a weight that is not finite.
  [[nodiscard]] Matrix<float> scores(MatrixView<const float> w, const Mask& kept) const {
    require_shapes(w, kept);
    require_finite(w, "weight");
    constexpr double e = 1e-10;
    Matrix<float> result(shape_);
    for_weights([&](Index k, const Matrix<double>& inverse, Index j) {
      const Index row = k / shape_[1], col = k % shape_[1];
      const auto value = static_cast<double>(w(row, col));
      if (kept(row, col))
        result(row, col) = static_cast<float>(value * value / (inverse(j, j) + e) + e);
    });
    return result;
  }
  [[nodiscard]] Matrix<float> scores(MatrixView<const float> w) const {
    return scores(w, Mask(w.rows(), w.cols()));
  }

  /// w + scale F^-1 v, v_q = -w_q / [F^-1]_qq where `after` lacks what `before` has, else 0: the
  /// sum of what single removals would do. Therefore what is removed is not zero yet: `after` is to
  /// be applied. Throws as scores.
  [[nodiscard]] Matrix<float> compensated(MatrixView<const float> w, const Mask& before,
                                          const Mask& after, double scale = 1.0,
                                          const Execution& execution = {}) const {
    require_shapes(w, before);
    require_shapes(w, after);
    require_finite(w, "weight");
    Matrix<float> result(w);
    execution.parallel_for(chunks(), [&](Index c) {
      const Matrix<double>& own = inverse(c);
      std::vector<double> change(static_cast<std::size_t>(own.rows()));
      const auto position = [&](Index j) {
        const Index k = c * chunk_ + j;
        return Shape<2>{k / shape_[1], k % shape_[1]};
      };
      for (Index q = 0; q < own.rows(); ++q) {
        const auto [row, col] = position(q);
        if (!before(row, col) || after(row, col)) continue;
        const double v = -static_cast<double>(w(row, col)) / own(q, q);
        for (Index j = 0; j < own.rows(); ++j) change[static_cast<std::size_t>(j)] += own(q, j) * v;
      }
      for (Index j = 0; j < own.rows(); ++j) {
        const auto [row, col] = position(j);
        result(row, col) = static_cast<float>(static_cast<double>(w(row, col)) +
                                              scale * change[static_cast<std::size_t>(j)]);
      }
    });
    return result;
  }

 private:
  void add_to(Matrix<double>& inverse, const double* g, double* v) const {
    const Index n = inverse.rows();
    double sum = static_cast<double>(samples_);
    for (Index i = 0; i < n; ++i) {
      const double* const row = &inverse(i, 0);
      double product = 0.0;
      for (Index j = 0; j < n; ++j) product += row[j] * g[j];
      v[i] = product;
      sum += g[i] * product;
    }
    for (Index i = 0; i < n; ++i) {
      double* const row = &inverse(i, 0);
      const double factor = v[i] / sum;
      for (Index j = 0; j < n; ++j) row[j] -= factor * v[j];
    }
  }

  template <class Body>
  void for_weights(Body body) const {
    for (Index c = 0; c < chunks(); ++c)
      for (Index j = 0; j < inverse(c).rows(); ++j) body(c * chunk_ + j, inverse(c), j);
  }
  void require_shapes(MatrixView<const float> w, const Mask& mask) const {
    for (const Shape<2>& shape : {w.shape(), mask.shape()})
      if (shape != shape_)
        throw ShapeError("a Fisher matrix of weights of shape " + to_string(shape_) +
                         " does not fit " + to_string(shape));
  }

  Shape<2> shape_;
  Index samples_, chunk_, count_ = 0;
  std::vector<Matrix<double>> inverses_;
};

}  // namespace pare
