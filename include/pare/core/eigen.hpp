#pragma once

#include <Eigen/Core>
#include <type_traits>

#include "pare/core/tensor_view.hpp"

/// Opt-in: who includes this header links Eigen3::Eigen, which pare::pare does not bring along.
namespace pare {

/// A view of an Eigen matrix, vector or map: either storage order, any strides, no copy.
/// The Eigen object must outlive the view; expressions without memory do not compile.
template <class Derived>
requires(bool(Derived::Flags& Eigen::DirectAccessBit))
    [[nodiscard]] auto matrix_view(Eigen::DenseBase<Derived>& m) {
  constexpr bool writable = bool(Derived::Flags & Eigen::LvalueBit);
  using T = std::conditional_t<writable, typename Derived::Scalar, const typename Derived::Scalar>;
  auto& d = m.derived();
  return MatrixView<T>(d.data(), {d.rows(), d.cols()}, {d.rowStride(), d.colStride()});
}

template <class Derived>
requires(bool(Derived::Flags& Eigen::DirectAccessBit))
    [[nodiscard]] auto matrix_view(const Eigen::DenseBase<Derived>& m) {
  const auto& d = m.derived();
  return MatrixView<const typename Derived::Scalar>(d.data(), {d.rows(), d.cols()},
                                                    {d.rowStride(), d.colStride()});
}

/// A matrix view as an Eigen map with run-time strides, no copy.
template <class T>
[[nodiscard]] auto eigen_map(MatrixView<T> view) {
  using Plain =
      Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using Target = std::conditional_t<std::is_const_v<T>, const Plain, Plain>;
  using Strides = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  return Eigen::Map<Target, Eigen::Unaligned, Strides>(view.data(), view.rows(), view.cols(),
                                                       Strides(view.stride(0), view.stride(1)));
}

}  // namespace pare
