#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "pare/core/finite.hpp"
#include "pare/core/float_arithmetic.hpp"
#include "pare/core/float_environment.hpp"
#include "pare/formats/format.hpp"
#include "pare/formats/rounding.hpp"
#include "pare/kernels/elementwise.hpp"
#include "pare/kernels/execution.hpp"

namespace pare {

/// Which values gradients take to be inside the range of codes.
enum class InsideRange : std::uint8_t {
  after_rounding,   ///< those whose rounded code is: PyTorch
  before_rounding,  ///< those whose level is, the ends included: the paper of LSQ, and lsq-net
};

/// What fake quantization simulates: codes lo..hi.
struct FakeQuantizeOptions {
  std::int32_t lo = -128;
  std::int32_t hi = 127;
  QuotientPolicy quotient = QuotientPolicy::reciprocal;
  /// Of gradients alone; values are the same.
  InsideRange inside = InsideRange::after_rounding;
};

/// The options whose codes are those of an integer format.
template <Format F>
requires(F::is_integer) [[nodiscard]] constexpr FakeQuantizeOptions
    fake_quantize_options(QuotientPolicy quotient = QuotientPolicy::reciprocal) noexcept {
  return {-F::code_offset, code_count<F>() - 1 - F::code_offset, quotient};
}

/// Parameters of one tensor or one channel: value = scale * (code - zero_point).
struct AffineParameters {
  float scale = 1.0f;
  std::int32_t zero_point = 0;
  friend bool operator==(const AffineParameters&, const AffineParameters&) = default;
};

namespace detail {

/// Fake quantization of one channel, with the arithmetic of PyTorch's CPU kernels.
class FakeQuantizer {
 public:
  FakeQuantizer(const AffineParameters& p, const FakeQuantizeOptions& options) noexcept
      : scale_(p.scale),
        reciprocal_(quotient(1.0f, p.scale)),
        zero_point_(p.zero_point),
        lo_(options.lo),
        hi_(options.hi),
        divide_(options.quotient == QuotientPolicy::divide),
        before_rounding_(options.inside == InsideRange::before_rounding) {}

  /// The code before clipping as far as it matters: lo - 1 stands for all below, hi + 1 for all
  /// above.
  [[nodiscard]] std::int32_t code(float x) const noexcept {
    return round_to_code(level_of(x), zero_point_, lo_ - 1, hi_ + 1);
  }
  /// Whether gradients take x, whose code it is, to be inside.
  [[nodiscard]] bool inside(float x, std::int32_t code) const noexcept {
    if (!before_rounding_) return code >= lo_ && code <= hi_;
    const float level = level_of(x) + static_cast<float>(zero_point_);
    return level >= static_cast<float>(lo_) && level <= static_cast<float>(hi_);
  }

  /// The clipped code without its zero point.
  [[nodiscard]] float level(std::int32_t code) const noexcept {
    return static_cast<float>((code < lo_ ? lo_ : code > hi_ ? hi_ : code) - zero_point_);
  }

  [[nodiscard]] float forward(float x) const noexcept { return level(code(x)) * scale_; }

  /// A product: outside the range the result is a zero with the sign of dy.
  [[nodiscard]] float backward(float x, float dy) const noexcept {
    return dy * rounded(inside(x, code(x)) ? 1.0f : 0.0f);
  }

 private:
  [[nodiscard]] float level_of(float x) const noexcept {
    return divide_ ? quotient(x, scale_) : rounded(x * reciprocal_);
  }
  float scale_, reciprocal_;
  std::int32_t zero_point_, lo_, hi_;
  bool divide_, before_rounding_;
};

inline void require_fake_quantizable(Shape<2> x, VectorView<const AffineParameters> parameters,
                                     const FakeQuantizeOptions& options) {
  // round_to_code's limit is 2^21 around the zero point, which lies within the codes.
  constexpr std::int32_t limit = 1 << 20;
  if (options.lo >= options.hi || options.lo < -limit || options.hi > limit)
    throw ArgumentError("codes " + std::to_string(options.lo) + ".." + std::to_string(options.hi) +
                        " are not a range within +-2^20");
  if (parameters.size() != x[0])
    throw ShapeError("there are parameters of " + std::to_string(parameters.size()) +
                     " channels for x of shape " + to_string(x));
  for (Index i = 0; i < parameters.size(); ++i) {
    const AffineParameters& p = parameters[i];
    const bool usable = is_usable_scale(p.scale) && (options.quotient == QuotientPolicy::divide ||
                                                     is_usable_scale(quotient(1.0f, p.scale)));
    if (!usable)
      throw ArgumentError("the scale of channel " + std::to_string(i) + " is " +
                          std::to_string(p.scale) +
                          ": it must be positive and finite, and so must its reciprocal");
    if (p.zero_point < options.lo || p.zero_point > options.hi)
      throw ArgumentError("the zero point of channel " + std::to_string(i) + " is " +
                          std::to_string(p.zero_point) + ", outside the codes " +
                          std::to_string(options.lo) + ".." + std::to_string(options.hi));
  }
}

inline void require_same_shape(Shape<2> x, Shape<2> other, const char* name) {
  if (x != other)
    throw ShapeError(std::string(name) + " has shape " + to_string(other) + ", x " + to_string(x));
}

/// One set of parameters for all rows.
[[nodiscard]] inline VectorView<const AffineParameters> every_row(const AffineParameters& p,
                                                                  Index rows) {
  return {&p, {rows}, {0}};
}

}  // namespace detail

/// Rounds x to the values that codes lo..hi can stand for, row i with parameters[i].
///
///     y = (clip(round_half_even(quotient(x, scale)) + zero_point, lo, hi) - zero_point) * scale
///
/// Shapes    x, y (channels, values), any strides: for channels in columns pass transposed views;
///           parameters (channels); y may be x
/// Errors    NumericError naming the element when x is not finite, y is unspecified then;
///           ArgumentError for a scale that is not positive and finite, or whose reciprocal is not
///           when that is used, for a zero point outside lo..hi, and for codes outside +-2^20;
///           ShapeError
/// Order     bit-identical for all kernels and thread counts
/// Source    PyTorch, fake_quantize_per_{tensor,channel}_affine: same bits with `reciprocal`.
inline void fake_quantize(MatrixView<const float> x, VectorView<const AffineParameters> parameters,
                          const FakeQuantizeOptions& options, MatrixView<float> y,
                          const Execution& execution = {}, const MemoryTuning& tuning = {}) {
  detail::require_fake_quantizable(x.shape(), parameters, options);
  detail::require_same_shape(x.shape(), y.shape(), "y");
  with_standard_floats(execution, [&](const Execution& standard) {
    const kernels::ElementwiseKernel& kernel = kernels::elementwise_kernel(execution.force);
    const bool in_place = x.data() == y.data();
    const auto store = in_place ? kernels::Store::cached
                                : kernels::choose_store(y.size() * Index{sizeof(float)}, tuning);
    std::atomic<bool> finite = true;
    kernels::for_each_piece(x.shape(), standard, tuning, [&](Index i, Index begin, Index count) {
      if (x.stride(1) == 1 && y.stride(1) == 1) {
        const AffineParameters& p = parameters[i];
        const kernels::FakeParameters levels{p.scale, options.lo - p.zero_point,
                                             options.hi - p.zero_point, options.quotient};
        // What is not finite must survive to be found again.
        if ((in_place && !is_finite(kernel.absmax(&x(i, begin), count))) ||
            !kernel.fake_quantize(&x(i, begin), count, levels, store, &y(i, begin)))
          finite.store(false);
        return;
      }
      const detail::FakeQuantizer channel(parameters[i], options);
      for (Index j = begin; j < begin + count; ++j)
        if (!is_finite(x(i, j))) return finite.store(false);
      for (Index j = begin; j < begin + count; ++j) y(i, j) = channel.forward(x(i, j));
    });
    if (!finite) require_finite(x, "x");
  });
}

/// The same with one set of parameters for the tensor.
inline void fake_quantize(MatrixView<const float> x, const AffineParameters& parameters,
                          const FakeQuantizeOptions& options, MatrixView<float> y,
                          const Execution& execution = {}, const MemoryTuning& tuning = {}) {
  fake_quantize(x, detail::every_row(parameters, x.rows()), options, y, execution, tuning);
}

/// The straight-through gradient: passes dy where x was not clipped.
///
///     dx = dy * (lo <= round_half_even(quotient(x, scale)) + zero_point <= hi)
///
/// or, where `inside` says so, without the rounding.
///
/// Shapes, errors and order as fake_quantize; dx may be dy. Of x and dy no value is checked: a
/// clipped element gives dy * 0, so -0 and NaN survive.
/// Source    Bengio et al., "Estimating or propagating gradients through stochastic neurons",
///           2013; the mask as in PyTorch.
inline void fake_quantize_backward(MatrixView<const float> x,
                                   VectorView<const AffineParameters> parameters,
                                   const FakeQuantizeOptions& options, MatrixView<const float> dy,
                                   MatrixView<float> dx, const Execution& execution = {}) {
  detail::require_fake_quantizable(x.shape(), parameters, options);
  detail::require_same_shape(x.shape(), dy.shape(), "dy");
  detail::require_same_shape(x.shape(), dx.shape(), "dx");
  with_standard_floats(execution, [&](const Execution& standard) {
    standard.parallel_for(x.rows(), [&](Index i) {
      const detail::FakeQuantizer channel(parameters[i], options);
      for (Index j = 0; j < x.cols(); ++j) dx(i, j) = channel.backward(x(i, j), dy(i, j));
    });
  });
}

/// The same with one set of parameters for the tensor.
inline void fake_quantize_backward(MatrixView<const float> x, const AffineParameters& parameters,
                                   const FakeQuantizeOptions& options, MatrixView<const float> dy,
                                   MatrixView<float> dx, const Execution& execution = {}) {
  fake_quantize_backward(x, detail::every_row(parameters, x.rows()), options, dy, dx, execution);
}

}  // namespace pare
