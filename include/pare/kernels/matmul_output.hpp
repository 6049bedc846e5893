#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "pare/core/tensor_view.hpp"
#include "pare/kernels/dispatch/bf16.hpp"
#include "pare/kernels/dispatch/float.hpp"
#include "pare/kernels/dispatch/generic.hpp"
#include "pare/kernels/dispatch/integer.hpp"
#include "pare/kernels/dispatch/sparse.hpp"
#include "pare/kernels/packed_matrix.hpp"
#include "pare/kernels/sparse_matrix.hpp"

namespace pare {

class AnyPackedMatrix;

/// What a matmul's activations are.
enum class ActivationType : std::uint8_t { float32, bfloat16, int8 };

/// Most outputs of one matmul that share a parallel loop; more run one loop after the other.
inline constexpr std::size_t max_matmul_outputs = 8;

/// What happens to a product besides being written.
struct OutputOptions {
  /// (out), added to every token; empty: none.
  VectorView<const float> bias{};
  /// Adds to y instead of overwriting it.
  bool accumulate = false;
};

/// One product of a matmul: a packed weight of any format and where x wᵀ goes.
///
///     matmul(x, {{w_q, q}, {w_k, k, {.bias = b}}, {w_v, v}}, execution);
///
/// A view: weight, y and bias outlive the call.
class MatmulOutput {
 public:
  template <Format F>
  MatmulOutput(const PackedMatrix<F>& w, MatrixView<float> y, OutputOptions options = {})
      : MatmulOutput(Meets<true, true>{}, w, y, options) {}

  template <SparseLayout L>
  MatmulOutput(const SparseMatrix<L>& w, MatrixView<float> y, OutputOptions options = {})
      : MatmulOutput(Meets<true, true>{}, w, y, options) {}

  template <std::same_as<AnyPackedMatrix> W>
  MatmulOutput(const W& w, MatrixView<float> y, OutputOptions options = {})
      : MatmulOutput(Meets<true, true>{}, w, y, options) {}

  /// Of a product with activations of one kind: kernels that meet only others are not compiled, nor
  /// are they there.
  template <ActivationType X, class W>
  [[nodiscard]] static MatmulOutput meeting(const W& w, MatrixView<float> y,
                                            OutputOptions options = {}) {
    return {Meets<X == ActivationType::int8, X == ActivationType::bfloat16>{}, w, y, options};
  }

  [[nodiscard]] const kernels::PackedView& weight() const noexcept { return w_; }
  [[nodiscard]] MatrixView<float> y() const noexcept { return y_; }
  void set_y(MatrixView<float> y) noexcept { y_ = y; }
  [[nodiscard]] const OutputOptions& options() const noexcept { return options_; }
  /// Throws ArgumentError as kernels::select_kernel does.
  [[nodiscard]] const kernels::IntegerKernel& integer_kernel(KernelName force) const {
    return integer_(force);
  }
  [[nodiscard]] const kernels::FloatKernel& float_kernel(KernelName force) const {
    return float_(force);
  }
  /// Null where float_kernel takes its place: see kernels::bf16_kernel.
  [[nodiscard]] const kernels::Bf16Kernel* bf16_kernel(KernelName force) const {
    return bf16_(force);
  }

  /// For the family of the integer kernel that runs; null if the weight is dense or the family has
  /// none.
  [[nodiscard]] const kernels::SparseKernel* sparse_kernel(KernelName family) const noexcept {
    return sparse_ ? sparse_(family) : nullptr;
  }

 private:
  /// What activations there may be beside float32, which takes the place of all.
  template <bool Int8, bool Bf16>
  struct Meets {};

  template <bool Int8, bool Bf16, Format F>
  MatmulOutput(Meets<Int8, Bf16>, const PackedMatrix<F>& w, MatrixView<float> y,
               OutputOptions options)
      : w_(w.view()), y_(y), options_(options) {
    if constexpr (kernels::TableFormat<F>) {
      if constexpr (Int8) integer_ = &kernels::integer_kernel<typename PackedMatrix<F>::Codes>;
      float_ = &kernels::float_kernel<typename PackedMatrix<F>::Codes>;
    } else {
      float_ = &kernels::generic_float_kernel<F>;
    }
    if constexpr (Bf16) bf16_ = &kernels::bf16_kernel<F>;
  }

  template <bool Int8, bool Bf16, SparseLayout L>
  MatmulOutput(Meets<Int8, Bf16>, const SparseMatrix<L>& w, MatrixView<float> y,
               OutputOptions options)
      : w_(w.view()),
        y_(y),
        options_(options),
        float_(&kernels::float_kernel<kernels::packed_codes<Int<8>>>) {
    if constexpr (Int8) {
      integer_ = &kernels::integer_kernel<kernels::packed_codes<Int<8>>>;
      sparse_ = &kernels::sparse_kernel<L>;
    }
    if constexpr (Bf16) bf16_ = &kernels::bf16_kernel<Int<8>>;
  }

  template <bool Int8, bool Bf16, std::same_as<AnyPackedMatrix> W>
  MatmulOutput(Meets<Int8, Bf16> meets, const W& w, MatrixView<float> y, OutputOptions options)
      : MatmulOutput(
            w.visit([&](const auto& packed) { return MatmulOutput(meets, packed, y, options); })) {}

  kernels::PackedView w_;
  MatrixView<float> y_;
  OutputOptions options_;
  const kernels::IntegerKernel& (*integer_)(KernelName) = nullptr;  ///< null: none, see groups_fit
  const kernels::FloatKernel& (*float_)(KernelName) = nullptr;
  const kernels::Bf16Kernel* (*bf16_)(KernelName) = nullptr;
  const kernels::SparseKernel* (*sparse_)(KernelName) noexcept = nullptr;
};

}  // namespace pare
