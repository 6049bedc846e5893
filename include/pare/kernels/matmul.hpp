#pragma once

#include <concepts>
#include <string>

#include "pare/kernels/matmul_float.hpp"
#include "pare/kernels/matmul_integer.hpp"
#include "pare/kernels/packed_matrix.hpp"
#include "pare/kernels/quantized_activations.hpp"

namespace pare {

class AnyPackedMatrix;

namespace kernels::detail {

inline void check_matmul_shapes(const Shape<2>& x, const Shape<2>& w, const Shape<2>& y) {
  if (x[1] != w[1] || y[0] != x[0] || y[1] != w[0])
    throw ShapeError("matmul y = x wᵀ cannot take x " + to_string(x) + ", w " + to_string(w) +
                     " and y " + to_string(y));
}

/// Calls `f` with y, or with a copy of unit column stride that is copied back.
template <class F>
void with_unit_column_stride(MatrixView<float> y, F&& f) {
  if (y.stride(1) == 1) return f(y);
  Matrix<float> rows(y.shape());
  f(rows.view());
  copy(rows.view(), y);
}

/// Whether int8 activations meet `w` as integers; else they are expanded to float32.
template <Format F>
[[nodiscard]] bool runs_on_integers(const PackedMatrix<F>& w) noexcept {
  return has_integer_kernel<F> && w.group_length() <= max_integer_group;
}

}  // namespace kernels::detail

/// Multiplies activations with a quantized weight.
///
///     y = x wᵀ
///
/// Shapes    x (tokens, in), w (out, in), y (tokens, out), overwritten; any strides, column
///           stride 1 saves a copy of y; y may overlap x
/// Errors    ShapeError naming the three shapes; ArgumentError for a forced kernel that does not
///           exist or that the CPU cannot run
/// Edge      without input channels y is 0; activations that are not finite reach y
/// Accuracy  sums in float32: |error| <= c 2^-24 sum |x| s (|code| + |zero_point|), where c is
/// about
///           256 + in / 256, with one token group length / 4 + number of groups
/// Order     bit-identical for any number of threads; differs between kernels, and between one
///           token and several
template <Format F>
void matmul(MatrixView<const float> x, const PackedMatrix<F>& w, MatrixView<float> y,
            const Execution& execution = {}) {
  kernels::detail::check_matmul_shapes(x.shape(), {w.rows(), w.cols()}, y.shape());
  const auto& kernel = kernels::float_kernel<typename PackedMatrix<F>::Codes>(execution.force);
  kernels::detail::with_unit_column_stride(y, [&](MatrixView<float> rows) {
    kernels::matmul_float(kernel, x, w.view(), rows, execution);
  });
}

/// The same with int8 activations.
///
/// 4- and 8-bit integer weights multiply as integers, exact within a group; for other formats, and
/// groups longer than 65536, the activations are expanded to float32.
/// Accuracy  integers: one float32 rounding per group, one per token, one more with a zero point
/// Order     also the same for one token and several
template <Format F>
void matmul(const QuantizedActivations& x, const PackedMatrix<F>& w, MatrixView<float> y,
            const Execution& execution = {}) {
  kernels::detail::check_matmul_shapes(x.codes.shape(), {w.rows(), w.cols()}, y.shape());
  if (x.scales.size() != x.tokens())
    throw ShapeError("activations of " + std::to_string(x.tokens()) + " tokens have " +
                     std::to_string(x.scales.size()) + " scales");
  if constexpr (kernels::has_integer_kernel<F>)
    if (kernels::detail::runs_on_integers(w)) {
      const auto& kernel = kernels::integer_kernel<F::code_bits>(execution.force);
      return kernels::detail::with_unit_column_stride(y, [&](MatrixView<float> rows) {
        kernels::matmul_integer(kernel, x, w.view(), rows, execution);
      });
    }
  matmul(dequantize(x), w, y, execution);
}

/// The same for a weight of any format, with either kind of activations.
///
/// A template, so that only translation units that call it compile the kernels of all formats.
template <class X, std::same_as<AnyPackedMatrix> W>
void matmul(const X& x, const W& w, MatrixView<float> y, const Execution& execution = {}) {
  w.visit([&](const auto& packed) { matmul(x, packed, y, execution); });
}

}  // namespace pare
