#pragma once

#include <concepts>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "pare/kernels/matmul/bf16.hpp"
#include "pare/kernels/matmul/float.hpp"
#include "pare/kernels/matmul/integer.hpp"
#include "pare/kernels/matmul_output.hpp"
#include "pare/kernels/packed_matrix.hpp"
#include "pare/kernels/quantized_activations.hpp"

namespace pare {

namespace kernels::detail {

inline void check_outputs(const Shape<2>& x, std::span<const MatmulOutput> outputs) {
  for (const MatmulOutput& output : outputs) {
    const Shape<2> w{output.weight().rows, output.weight().cols}, y = output.y().shape();
    if (x[1] != w[1] || y[0] != x[0] || y[1] != w[0])
      throw ShapeError("matmul y = x wᵀ cannot take x " + to_string(x) + ", w " + to_string(w) +
                       " and y " + to_string(y));
    const Index bias = output.options().bias.size();
    if (bias != 0 && bias != w[0])
      throw ShapeError("the bias of a matmul with w " + to_string(w) + " has " +
                       std::to_string(bias) + " elements");
  }
}

inline void check_activations(const QuantizedActivationsView& x) {
  const Index groups = x.cols() == 0 ? x.groups() : ceil_div(x.cols(), x.group_length());
  if (x.scales.shape() != Shape<2>{x.tokens(), groups})
    throw ShapeError("activations " + to_string(x.codes.shape()) + " in groups of " +
                     std::to_string(x.group_size) + " have scales " + to_string(x.scales.shape()));
}

/// Calls `f` with the outputs that have columns to multiply and y of unit column stride; others
/// get a copy that is copied back.
template <class F>
void with_plain_outputs(std::span<const MatmulOutput> outputs, F&& f) {
  std::vector<Matrix<float>> copies;
  std::vector<MatmulOutput> plain;
  copies.reserve(outputs.size());
  plain.reserve(outputs.size());
  for (const MatmulOutput& output : outputs) {
    if (output.y().empty()) continue;
    plain.push_back(output);
    if (output.y().stride(1) == 1) continue;
    copies.emplace_back(output.y());
    plain.back().set_y(copies.back().view());
  }
  f(std::span<const MatmulOutput>(plain));
  auto copy_of = copies.begin();
  for (const MatmulOutput& output : outputs)
    if (!output.y().empty() && output.y().stride(1) != 1) copy((copy_of++)->view(), output.y());
}

/// x, or its copy in `dense` where columns have another stride than 1.
[[nodiscard]] inline MatrixView<const float> plain_rows(MatrixView<const float> x,
                                                        Matrix<float>& dense) {
  if (x.stride(1) == 1) return x;
  dense = Matrix<float>(x);
  return dense;
}

/// Whether int8 activations meet a weight as integers; else they are expanded to float32.
[[nodiscard]] inline bool runs_on_integers(const PackedView& w, Index activation_group) noexcept {
  return groups_fit(w, activation_group);
}

}  // namespace kernels::detail

/// Multiplies activations with quantized weights.
///
///     y = x wᵀ + bias
///
/// Shapes    x (tokens, in); of each output w (out, in), y (tokens, out), bias (out); any strides,
///           column stride 1 saves a copy; y may overlap x, but not another y
/// Errors    ShapeError naming the shapes; ArgumentError for a forced kernel that does not
///           exist or that the CPU cannot run, and for a tuning out of range
/// Edge      without input channels x wᵀ is 0; activations that are not finite reach y
/// Accuracy  sums in float32: |error| <= c 2^-24 sum |x| s (|code| + |zero_point|), where c is
///           about 256 + in / 256, with few tokens group length / 2 + number of groups
/// Order     bit-identical for any number of threads; differs between kernels, and between few
///           tokens and many
inline void matmul(MatrixView<const float> x, std::span<const MatmulOutput> outputs,
                   const Execution& execution = {}) {
  kernels::check_tuning(execution.tuning);
  kernels::detail::check_outputs(x.shape(), outputs);
  Matrix<float> dense;
  const MatrixView<const float> rows = kernels::detail::plain_rows(x, dense);
  kernels::detail::with_plain_outputs(outputs, [&](std::span<const MatmulOutput> plain) {
    kernels::matmul_float(rows, plain, execution);
  });
}

/// The same with activations rounded to bf16, to nearest, ties to even: twice as fast or more on
/// some CPUs.
///
/// Codes of up to 4 bits are exact in bf16, less zero points, and meet the activations in bf16 dot
/// products. NF4 and wider codes, and CPUs without fast bf16, run the float32 kernels on rounded
/// activations: see describe. Forced kernels: amx, avx512bf16 and those of matmul.
/// Accuracy  as matmul, with rounded activations; amx and avx512bf16 take denormal numbers for 0
inline void matmul_bf16(MatrixView<const float> x, std::span<const MatmulOutput> outputs,
                        const Execution& execution = {}) {
  kernels::check_tuning(execution.tuning);
  kernels::detail::check_outputs(x.shape(), outputs);
  Matrix<float> dense;
  const MatrixView<const float> rows = kernels::detail::plain_rows(x, dense);
  kernels::detail::with_plain_outputs(outputs, [&](std::span<const MatmulOutput> plain) {
    kernels::matmul_bf16(rows, plain, execution);
  });
}

/// The same with int8 activations, whose products with the weights' codes are summed exactly over
/// each group. Codebooks become integers: see kernels::IntegerCodebook.
///
/// Groups of the activations that end inside a unit of packed codes, or that a column order
/// scatters, are expanded to float32.
/// Accuracy  one float32 rounding per group, two with groups of activations, and two per token
/// Order     also the same for one token and several
inline void matmul(const QuantizedActivationsView& x, std::span<const MatmulOutput> outputs,
                   const Execution& execution = {}) {
  kernels::check_tuning(execution.tuning);
  kernels::detail::check_outputs(x.codes.shape(), outputs);
  kernels::detail::check_activations(x);
  kernels::detail::with_plain_outputs(outputs, [&](std::span<const MatmulOutput> plain) {
    bool all = true;
    for (const MatmulOutput& output : plain)
      all = all && kernels::detail::runs_on_integers(output.weight(), x.group_length());
    if (all) return kernels::matmul_integer(x, plain, execution);
    const Matrix<float> expanded = dequantize(x);
    for (const MatmulOutput& output : plain) {
      const std::span<const MatmulOutput> one(&output, 1);
      if (kernels::detail::runs_on_integers(output.weight(), x.group_length()))
        kernels::matmul_integer(x, one, execution);
      else
        kernels::matmul_float(expanded, one, execution);
    }
  });
}

/// Quantizes x and multiplies: the bits of quantize_activations and matmul one after the other.
inline void matmul_dynamic(MatrixView<const float> x, std::span<const MatmulOutput> outputs,
                           const ActivationOptions& options = {}, const Execution& execution = {}) {
  const Index groups = kernels::activation_groups(options, x.cols());
  kernels::Scratch scratch(execution.workspace,
                           kernels::Scratch::bytes<std::int8_t>(x.size()) +
                               kernels::Scratch::bytes<float>(x.rows() * groups) +
                               kernels::Scratch::bytes<std::int32_t>(x.rows() * groups));
  auto* codes = scratch.take<std::int8_t>(x.size());
  auto* scales = scratch.take<float>(x.rows() * groups);
  auto* sums = scratch.take<std::int32_t>(x.rows() * groups);
  kernels::quantize_rows(kernels::quantizing_kernel(execution.force), x, options, execution,
                         {codes, scales, sums}, groups);
  matmul(
      QuantizedActivationsView({codes, x.shape()}, {scales, {x.rows(), groups}},
                               {sums, {x.rows(), groups}}, options.zero_point, options.group_size),
      outputs, execution);
}

template <class X>
concept Activations =
    std::convertible_to<const X&, MatrixView<const float>> || std::same_as<X, QuantizedActivations>;

namespace kernels::detail {

template <Activations X>
void dispatch(const X& x, std::span<const MatmulOutput> outputs, const Execution& execution) {
  if constexpr (std::convertible_to<const X&, MatrixView<const float>>)
    matmul(MatrixView<const float>(x), outputs, execution);
  else
    matmul(QuantizedActivationsView(x), outputs, execution);
}

}  // namespace kernels::detail

/// The same for a list of outputs in place.
template <Activations X>
void matmul(const X& x, std::initializer_list<MatmulOutput> outputs,
            const Execution& execution = {}) {
  kernels::detail::dispatch(x, {outputs.begin(), outputs.size()}, execution);
}
inline void matmul_bf16(MatrixView<const float> x, std::initializer_list<MatmulOutput> outputs,
                        const Execution& execution = {}) {
  matmul_bf16(x, std::span<const MatmulOutput>(outputs.begin(), outputs.size()), execution);
}
inline void matmul_dynamic(MatrixView<const float> x, std::initializer_list<MatmulOutput> outputs,
                           const ActivationOptions& options = {}, const Execution& execution = {}) {
  matmul_dynamic(x, std::span<const MatmulOutput>(outputs.begin(), outputs.size()), options,
                 execution);
}

/// The same for one weight: a PackedMatrix of any format, or AnyPackedMatrix. Only the kernels of
/// these activations are compiled.
template <Activations X, class W>
requires std::constructible_from<MatmulOutput, const W&, MatrixView<float>>
void matmul(const X& x, const W& w, MatrixView<float> y, const Execution& execution = {}) {
  constexpr bool floats = std::convertible_to<const X&, MatrixView<const float>>;
  constexpr auto type = floats ? ActivationType::float32 : ActivationType::int8;
  const auto output = MatmulOutput::meeting<type>(w, y);
  kernels::detail::dispatch(x, {&output, 1}, execution);
}
template <class W>
requires std::constructible_from<MatmulOutput, const W&, MatrixView<float>>
void matmul_bf16(MatrixView<const float> x, const W& w, MatrixView<float> y,
                 const Execution& execution = {}) {
  const auto output = MatmulOutput::meeting<ActivationType::bfloat16>(w, y);
  matmul_bf16(x, std::span<const MatmulOutput>(&output, 1), execution);
}
template <class W>
requires std::constructible_from<MatmulOutput, const W&, MatrixView<float>>
void matmul_dynamic(MatrixView<const float> x, const W& w, MatrixView<float> y,
                    const ActivationOptions& options = {}, const Execution& execution = {}) {
  const auto output = MatmulOutput::meeting<ActivationType::int8>(w, y);
  matmul_dynamic(x, std::span<const MatmulOutput>(&output, 1), options, execution);
}

}  // namespace pare

#if defined(PARE_LINKS_COMPILED_KERNELS)
#include "pare/kernels/compiled.hpp"
#endif
