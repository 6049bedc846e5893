#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float_arithmetic.hpp"
#include "pare/formats/format.hpp"

namespace pare {

/// How the range of a block is chosen.
enum class RangeMethod : std::uint8_t {
  min_max,  ///< every weight inside the range; the mean magnitude with Ternary
  mse_clip  ///< the shrunken range with the least sum of |error|^exponent
};

struct RangeOptions {
  RangeMethod method = RangeMethod::min_max;
  SymmetricDenominator denominator = SymmetricDenominator::automatic;
  /// See FitOptions::extend_to_zero.
  bool extend_to_zero = true;
  /// See FitOptions::underflow.
  ScaleUnderflow underflow = ScaleUnderflow::zero;
  /// Of `mse_clip`: candidates p = 1 - i / grid for i in [0, max_shrink * grid), as GPTQ's code;
  /// exponent > 0, grid >= 1, max_shrink in [0, 1).
  float exponent = 2.4f;
  int grid = 100;
  float max_shrink = 0.8f;
};

namespace detail {

/// Throws ArgumentError naming the option that is out of range.
inline void require_valid(const RangeOptions& options) {
  if (!(options.exponent > 0.0f) || !is_finite(options.exponent))
    throw ArgumentError("the exponent of the clip error is " + std::to_string(options.exponent) +
                        ", not finite and positive");
  if (options.grid < 1)
    throw ArgumentError("the clip grid has " + std::to_string(options.grid) + " steps");
  if (!(options.max_shrink >= 0.0f && options.max_shrink < 1.0f))
    throw ArgumentError("the largest shrinkage of a range is " +
                        std::to_string(options.max_shrink) + ", outside [0, 1)");
}

}  // namespace detail

/// The default storage of scales: 16 bits for groups, 32 bits per row and at 8 bits. Means nothing
/// to a format that stores its own parameters.
template <Format F>
[[nodiscard]] constexpr ScaleType default_scale_type(Index group_size) noexcept {
  if (StoresOwnParameters<F>) return ScaleType::f32;
  return group_size == -1 || F::code_bits == 8 ? ScaleType::f32 : ScaleType::f16;
}

namespace detail {

[[nodiscard]] constexpr FitOptions fit_options(const RangeOptions& range,
                                               ScaleType scale_type) noexcept {
  return {scale_type, range.denominator, range.extend_to_zero, range.underflow};
}

struct NoParameters {};

/// What a format finds before its blocks.
template <Format F>
using TensorParameters =
    std::conditional_t<HasTensorParameters<F>, typename F::Parameters, NoParameters>;

template <Format F>
[[nodiscard]] typename F::Parameters fit_range(Range range, const FitOptions& options,
                                               const TensorParameters<F>& tensor) {
  if constexpr (HasTensorParameters<F>)
    return F::fit(range, options, tensor);
  else
    return F::fit(range, options);
}

/// Whether a format looks at all weights of a block, not only at their range.
template <Format F>
inline constexpr bool fits_values = requires(const float* values, FitOptions options,
                                             const typename F::Parameters& tensor) {
  requires requires { F::fit_values(values, Index{1}, Index{1}, options); } || requires {
    F::fit_values(values, Index{1}, Index{1}, options, tensor);
  };
};

/// Parameters of a block that is not clipped.
template <Format F>
[[nodiscard]] typename F::Parameters fit_block(const float* weights, Index count, Index stride,
                                               const FitOptions& options,
                                               const TensorParameters<F>& tensor) {
  if constexpr (!fits_values<F>)
    return fit_range<F>(range_of(weights, count, stride), options, tensor);
  else if constexpr (HasTensorParameters<F>)
    return F::fit_values(weights, count, stride, options, tensor);
  else
    return F::fit_values(weights, count, stride, options);
}

}  // namespace detail

/// Parameters of the block of `count` >= 1 finite weights, `stride` elements apart. Unchecked:
/// callers check weights and options once.
///
/// Edge      a zero block gets scale 1; a scale that the storage type cannot hold comes back as
///           0 or infinity: see is_usable_scale
/// Shapes    `tensor`: what the format's fit_tensor found for the whole, where it has one
/// Source    mse_clip: Frantar et al., "GPTQ", 2022, the quantizer of the authors' code
template <Format F>
[[nodiscard]] typename F::Parameters block_parameters(
    const float* weights, Index count, Index stride, const RangeOptions& options,
    ScaleType scale_type, const detail::TensorParameters<F>& tensor = {}) {
  const FitOptions fit = detail::fit_options(options, scale_type);
  typename F::Parameters best = detail::fit_block<F>(weights, count, stride, fit, tensor);
  if (options.method == RangeMethod::min_max || !is_usable<F>(best)) return best;

  const Range range = range_of(weights, count, stride);
  const int candidates =
      static_cast<int>(rounded(options.max_shrink * static_cast<float>(options.grid)));
  double best_error = std::numeric_limits<double>::max();
  for (int i = 0; i < candidates; ++i) {
    const float p = 1.0f - quotient(static_cast<float>(i), static_cast<float>(options.grid));
    const typename F::Parameters trial = detail::fit_range<F>(range.scaled(p), fit, tensor);
    if (!is_usable<F>(trial)) break;
    double error = 0.0;
    for (Index k = 0; k < count && error < best_error; ++k) {
      const float w = weights[k * stride];
      const float decoded = rounded(F::decode(F::encode(w, trial), trial));
      error =
          rounded(error + static_cast<double>(std::pow(std::fabs(w - decoded), options.exponent)));
    }
    if (error < best_error) {
      best_error = error;
      best = trial;
    }
  }
  return best;
}

}  // namespace pare
