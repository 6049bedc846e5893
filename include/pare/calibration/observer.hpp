#pragma once

#include <algorithm>
#include <concepts>

#include "pare/core/finite.hpp"
#include "pare/formats/scale.hpp"
#include "pare/kernels/elementwise.hpp"

namespace pare {

/// Watches values go by and chooses the range that their quantizer should cover.
///
/// Besides what the concept lists, every observer has
///
///     params<F>(FitOptions = {})   // F::Parameters for the chosen range
///
/// Memory    fixed, however much is observed
/// Errors    observe: NumericError naming the position of NaN or infinity, nothing is observed
///           then; params: ArgumentError when nothing was observed
/// Edge      empty batches change nothing; a scale that the storage type of the options cannot
///           hold comes back as 0 or infinity: see is_usable_scale
/// Order     merge(other) answers as if `other`'s batches had been observed here, after ours
template <class O>
concept Observer = std::copyable<O> &&
    requires(O o, const O& other, MatrixView<const float> matrix, VectorView<const float> vector) {
  o.observe(matrix);
  o.observe(vector);
  o.merge(other);
  { other.count() } -> std::same_as<Index>;
};

namespace detail {

[[nodiscard]] inline MatrixView<const float> as_one_row(VectorView<const float> x) {
  return {x.data(), {1, x.size()}, {0, x.stride(0)}};
}

/// The smallest range that holds both. Adding 0 makes -0 positive: signs do not depend on order.
[[nodiscard]] inline Range join(Range a, Range b) noexcept {
  return {std::min(a.lo, b.lo) + 0.0f, std::max(a.hi, b.hi) + 0.0f};
}

/// Range of a batch that is not empty; throws NumericError as observers do.
[[nodiscard]] inline Range batch_range(MatrixView<const float> x) {
  if (x.stride(1) != 1) require_finite(x, "the observed batch");
  const kernels::ElementwiseKernel& kernel = kernels::elementwise_kernel();
  Range range{x(0, 0), x(0, 0)};
  for (Index i = 0; i < x.rows(); ++i) {
    const float* row = &x(i, 0);
    const Range next =
        x.stride(1) == 1 ? kernel.range(row, x.cols()) : range_of(row, x.cols(), x.stride(1));
    if (!is_finite(next.lo)) require_finite(x, "the observed batch");
    range = join(range, next);
  }
  return range;
}

inline void require_observed(Index count) {
  if (count == 0) throw ArgumentError("no range can be chosen: nothing was observed");
}

}  // namespace detail

}  // namespace pare
