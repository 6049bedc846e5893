#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "pare/formats/any_quantized_matrix.hpp"
#include "pare/formats/one_of.hpp"
#include "pare/kernels/layout/packed_weight.hpp"
#include "pare/kernels/layout/sparse_layouts.hpp"
#include "pare/kernels/pack.hpp"
#include "pare/kernels/pack_sparse.hpp"
#include "pare/kernels/packed_matrix.hpp"
#include "pare/kernels/sparse_matrix.hpp"
#include "pare/kernels/unpack.hpp"

namespace pare {

/// A PackedMatrix of any format or a SparseMatrix of any layout.
class AnyPackedMatrix {
 public:
  template <PackedWeight W>
  AnyPackedMatrix(W matrix) : matrix_(std::move(matrix)) {}

  /// Calls `f` with the `PackedMatrix<F>` or `SparseMatrix<L>` inside.
  template <class Visitor>
  decltype(auto) visit(Visitor&& f) const {
    return matrix_.visit(f);
  }

  /// The matrix inside. Throws ArgumentError when it is another kind.
  template <PackedWeight W>
  [[nodiscard]] const W& as() const {
    if (const W* matrix = matrix_.get_if<W>()) return *matrix;
    throw ArgumentError("the packed matrix is " + std::string(layout()) + " " +
                        std::string(format()) + ", not " + std::string(W::layout::name) + " " +
                        std::string(W::format::name));
  }

  [[nodiscard]] std::string_view format() const {
    return visit([]<class W>(const W&) { return W::format::name; });
  }
  /// "dense" or the name of a sparse layout: see with_layout.
  [[nodiscard]] std::string_view layout() const {
    return visit([]<class W>(const W&) { return W::layout::name; });
  }
  [[nodiscard]] Index rows() const {
    return visit([](const auto& w) { return w.rows(); });
  }
  [[nodiscard]] Index cols() const {
    return visit([](const auto& w) { return w.cols(); });
  }
  [[nodiscard]] Index group_size() const {
    return visit([](const auto& w) { return w.group_size(); });
  }
  [[nodiscard]] ScaleType scale_type() const {
    return visit([](const auto& w) { return w.scale_type(); });
  }
  [[nodiscard]] Index bytes() const {
    return visit([](const auto& w) { return w.bytes(); });
  }
  /// The memory that a matmul reads: codes and their parameters, padding included.
  [[nodiscard]] std::span<const std::byte> streamed() const {
    return visit([](const auto& w) { return w.streamed(); });
  }
  [[nodiscard]] double bits_per_weight() const {
    return visit([](const auto& w) { return w.bits_per_weight(); });
  }

  friend bool operator==(const AnyPackedMatrix&, const AnyPackedMatrix&) = default;

 private:
  using Held = decltype(join(apply_type_list<TypeList, PackedMatrix, AllFormats>{},
                             apply_type_list<TypeList, SparseMatrix, AllSparseLayouts>{}));
  apply_type_list<OneOf, std::type_identity_t, Held> matrix_;
};

/// Calls `f(TypeTag<L>)` for the layout called `name`, DenseLayout or a sparse one ("dense", "2:4",
/// ...), and returns its result. Throws ArgumentError listing the names when there is none.
template <class Visitor>
decltype(auto) with_layout(std::string_view name, Visitor&& f) {
  return with_named(join(TypeList<DenseLayout>{}, AllSparseLayouts{}), "layout", name, f);
}

namespace kernels::detail {

/// Throws ArgumentError where a sparse layout does not hold a format.
template <SparseLayout L>
void check_layout_format(std::string_view format) {
  constexpr std::string_view held = SparseMatrix<L>::format::name;
  if (format != held)
    throw ArgumentError("layout " + std::string(L::name) + " holds " + std::string(held) +
                        ", not " + std::string(format));
}

}  // namespace kernels::detail

/// Calls `f(TypeTag<W>)` for the weight of a format in a layout that AnyPackedMatrix holds, and
/// returns its result.
///
/// Errors    those of with_layout; ArgumentError for a format that the layout does not hold
template <class Visitor>
decltype(auto) with_packed(std::string_view format, std::string_view layout, Visitor&& f) {
  return with_layout(layout, [&]<class L>(TypeTag<L>) -> decltype(auto) {
    if constexpr (std::same_as<L, DenseLayout>) {
      return with_format(format, [&]<class F>(TypeTag<F>) -> decltype(auto) {
        return f(TypeTag<PackedMatrix<F>>{});
      });
    } else {
      kernels::detail::check_layout_format<L>(format);
      return f(TypeTag<SparseMatrix<L>>{});
    }
  });
}

/// A template, as all that follows, so that only those who call it compile it for every format.
template <std::same_as<AnyQuantizedMatrix> Q>
[[nodiscard]] AnyPackedMatrix pack(const Q& q, const Execution& execution = {}) {
  return q.visit(
      [&]<class F>(const QuantizedMatrix<F>& m) -> AnyPackedMatrix { return pack(m, execution); });
}

/// Packs in the layout of that name: see with_layout.
///
///     const AnyPackedMatrix w = pack_as("blocks-32x4", q);
///
/// Errors    those of with_layout and of the layout's `pack`; ArgumentError for a format that the
///           layout does not hold
template <std::convertible_to<AnyQuantizedMatrix> Q>
[[nodiscard]] AnyPackedMatrix pack_as(std::string_view layout, const Q& matrix,
                                      const Execution& execution = {}) {
  const AnyQuantizedMatrix& q = matrix;
  return with_layout(layout, [&]<class L>(TypeTag<L>) -> AnyPackedMatrix {
    if constexpr (std::same_as<L, DenseLayout>) {
      return pack(q, execution);
    } else {
      kernels::detail::check_layout_format<L>(q.format());
      return pack<L>(q.as<typename SparseMatrix<L>::format>(), execution);
    }
  });
}

template <std::same_as<AnyPackedMatrix> W>
[[nodiscard]] AnyQuantizedMatrix unpack(const W& packed, const Execution& execution = {}) {
  return packed.visit([&](const auto& w) -> AnyQuantizedMatrix { return unpack(w, execution); });
}

}  // namespace pare
