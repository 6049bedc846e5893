#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float16.hpp"
#include "pare/core/tensor.hpp"

namespace pare {

/// The exact rewrite behind AWQ and SmoothQuant, as in-place steps on the weights: with a scale
/// s_c per channel,
///
///     x Wᵀ = (x / s) (W diag(s))ᵀ
///
/// so the columns of every consumer of x are multiplied and the operation that makes x is divided.
///
/// Accuracy  computed in float64 and rounded once to `Stored` (float, Float16 or BFloat16), the
///           type the tensor has on disk: what is evaluated afterwards is what ships
/// Errors    ShapeError for a wrong number of scales, ArgumentError for a scale that is not
///           positive and finite, NumericError naming the element that overflows `Stored` or is
///           not finite; the tensor is unchanged then
template <class Stored = float>
void fold_into_columns(MatrixView<float> consumer, VectorView<const float> scales);

/// Divides the rows of the previous linear layer that produce the scaled channels.
///
/// Shapes    previous (rows, cols); scales at most rows: the last scales.size() rows are divided
///           (a fused projection keeps the channels that feed this consumer at its end)
template <class Stored = float>
void fold_into_rows(MatrixView<float> previous, VectorView<const float> scales);

/// Divides the weight of a norm, or a bias; the last scales.size() elements as for rows. Of norms
/// that multiply with `offset` + weight the sum is divided.
template <class Stored = float>
void fold_into_vector(VectorView<float> previous, VectorView<const float> scales,
                      float offset = 0.0f);

namespace detail {

/// Rounds a double once to Stored, returned as float.
template <class Stored>
[[nodiscard]] float round_once(double value) noexcept {
  const float nearest = static_cast<float>(value);
  if constexpr (std::is_same_v<Stored, float>) {
    return nearest;
  } else {
    // Rounding to odd on the way (truncate, then set the last bit when inexact) keeps a tie of
    // the second rounding from appearing where there is none.
    std::uint32_t bits = std::bit_cast<std::uint32_t>(nearest);
    if (const double back = nearest; back != value) {
      bits -= std::fabs(back) > std::fabs(value);
      bits |= 1u;
    }
    return static_cast<float>(Stored(std::bit_cast<float>(bits)));
  }
}

inline void require_fold_scales(VectorView<const float> scales) {
  for (Index c = 0; c < scales.size(); ++c)
    if (!(scales[c] > 0.0f) || !is_finite(scales[c]))
      throw ArgumentError("scale " + std::to_string(c) + " is " + std::to_string(scales[c]) +
                          ", not positive and finite");
}

/// values(i, j) = f(value, i, j), rounded once; all or nothing.
template <class Stored, class F>
void fold_elements(MatrixView<float> values, F f) {
  Matrix<float> folded({values.rows(), values.cols()});
  for (Index i = 0; i < values.rows(); ++i)
    for (Index j = 0; j < values.cols(); ++j) {
      folded(i, j) = round_once<Stored>(f(static_cast<double>(values(i, j)), i, j));
      if (!is_finite(folded(i, j)))
        throw NumericError("folding a scale into element [" + std::to_string(i) + ", " +
                           std::to_string(j) + "] leaves the stored type's range");
    }
  copy(folded.view(), values);
}

}  // namespace detail

template <class Stored>
void fold_into_columns(MatrixView<float> consumer, VectorView<const float> scales) {
  if (scales.size() != consumer.cols())
    throw ShapeError(std::to_string(scales.size()) + " scales for " +
                     std::to_string(consumer.cols()) + " columns");
  detail::require_fold_scales(scales);
  detail::fold_elements<Stored>(
      consumer, [&](double w, Index, Index c) { return w * static_cast<double>(scales[c]); });
}

namespace detail {

/// Of rows, with what is added to their elements before they are used.
template <class Stored>
void fold_into_last_rows(MatrixView<float> previous, VectorView<const float> scales,
                         double offset) {
  if (scales.size() > previous.rows())
    throw ShapeError(std::to_string(scales.size()) + " scales for " +
                     std::to_string(previous.rows()) + " rows");
  require_fold_scales(scales);
  fold_elements<Stored>(previous.slice(0, previous.rows() - scales.size(), scales.size()),
                        [&](double w, Index c, Index) {
                          return (w + offset) / static_cast<double>(scales[c]) - offset;
                        });
}

}  // namespace detail

template <class Stored>
void fold_into_rows(MatrixView<float> previous, VectorView<const float> scales) {
  detail::fold_into_last_rows<Stored>(previous, scales, 0.0);
}

template <class Stored>
void fold_into_vector(VectorView<float> previous, VectorView<const float> scales, float offset) {
  detail::fold_into_last_rows<Stored>(
      {previous.data(), {previous.size(), 1}, {previous.stride(0), 1}}, scales,
      static_cast<double>(offset));
}

}  // namespace pare
