#pragma once

#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm.hpp"
#include "training/dual.hpp"

namespace training {

using pare::Index;

/// The values or the tangents of dual numbers, as a view of every second number.
template <class D, class T>
[[nodiscard]] pare::MatrixView<T> part_of(pare::MatrixView<D> m, T* first) {
  return {first, m.shape(), {2 * m.stride(0), 2 * m.stride(1)}};
}
template <class T>
[[nodiscard]] pare::MatrixView<const T> values_of(pare::MatrixView<const Dual<T>> m) {
  return part_of(m, &m.data()->value);
}
template <class T>
[[nodiscard]] pare::MatrixView<const T> tangents_of(pare::MatrixView<const Dual<T>> m) {
  return part_of(m, &m.data()->tangent);
}

/// c += alpha a b, of any strides: see pare::gemm. Of dual numbers three real products.
template <Scalar S>
void add_product(double alpha, std::type_identity_t<pare::MatrixView<const S>> a,
                 std::type_identity_t<pare::MatrixView<const S>> b, pare::MatrixView<S> c,
                 const pare::Execution& execution = {}) {
  if constexpr (std::is_floating_point_v<S>) {
    pare::gemm(static_cast<S>(alpha), a, b, c, execution);
  } else {
    using T = decltype(S::value);
    if (a.empty() || b.empty()) return;
    const T factor = static_cast<T>(alpha);
    const pare::MatrixView<T> values = part_of(c, &c.data()->value);
    const pare::MatrixView<T> tangents = part_of(c, &c.data()->tangent);
    pare::gemm(factor, values_of(a), values_of(b), values, execution);
    pare::gemm(factor, values_of(a), tangents_of(b), tangents, execution);
    pare::gemm(factor, tangents_of(a), values_of(b), tangents, execution);
  }
}

/// Columns that one task sums over all rows: sums over tokens are cut by columns, never by threads.
inline constexpr Index columns_of_a_task = 64;

/// sums_j += sum over rows of m_ij.
template <Scalar S>
void add_column_sums(pare::MatrixView<const S> m, pare::MatrixView<S> sums,
                     const pare::Execution& execution) {
  execution.parallel_for(pare::ceil_div(m.cols(), columns_of_a_task), [&](Index task) {
    const Index begin = task * columns_of_a_task;
    const Index end = std::min(m.cols(), begin + columns_of_a_task);
    for (Index i = 0; i < m.rows(); ++i)
      for (Index j = begin; j < end; ++j) sums(0, j) += m(i, j);
  });
}

}  // namespace training
