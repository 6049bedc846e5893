#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "pare/formats/all.hpp"
#include "pare/formats/one_of.hpp"
#include "pare/formats/quantized_matrix.hpp"

namespace pare {

/// A QuantizedMatrix of any format of the library: what tools hold when the format is known at run
/// time.
class AnyQuantizedMatrix {
 public:
  template <Format F>
  requires(contains<F>(AllFormats{})) AnyQuantizedMatrix(QuantizedMatrix<F> matrix)
      : matrix_(std::move(matrix)) {}

  /// Calls `f` with the `QuantizedMatrix<F>` inside.
  template <class Visitor>
  decltype(auto) visit(Visitor&& f) const {
    return matrix_.visit(f);
  }

  /// The matrix inside. Throws ArgumentError when it is of another format.
  template <Format F>
  [[nodiscard]] const QuantizedMatrix<F>& as() const {
    if (const auto* matrix = matrix_.get_if<QuantizedMatrix<F>>()) return *matrix;
    throw ArgumentError("the matrix is " + std::string(format()) + ", not " + std::string(F::name));
  }

  [[nodiscard]] std::string_view format() const {
    return visit([]<class F>(const QuantizedMatrix<F>&) { return F::name; });
  }
  [[nodiscard]] Index rows() const {
    return visit([](const auto& q) { return q.rows(); });
  }
  [[nodiscard]] Index cols() const {
    return visit([](const auto& q) { return q.cols(); });
  }
  [[nodiscard]] Index group_size() const {
    return visit([](const auto& q) { return q.group_size(); });
  }
  [[nodiscard]] ScaleType scale_type() const {
    return visit([](const auto& q) { return q.scale_type(); });
  }
  [[nodiscard]] Index bytes() const {
    return visit([](const auto& q) { return q.bytes(); });
  }
  [[nodiscard]] double bits_per_weight() const {
    return visit([](const auto& q) { return q.bits_per_weight(); });
  }
  [[nodiscard]] Matrix<float> dequantize() const {
    return visit([](const auto& q) { return pare::dequantize(q); });
  }

  friend bool operator==(const AnyQuantizedMatrix&, const AnyQuantizedMatrix&) = default;

 private:
  apply_type_list<OneOf, QuantizedMatrix, AllFormats> matrix_;
};

/// Calls `f(TypeTag<F>)` for the format called `name` ("int4", "nf4", ...) and returns its result.
/// Throws ArgumentError listing the names when there is none.
template <class Visitor>
decltype(auto) with_format(std::string_view name, Visitor&& f) {
  return with_named(AllFormats{}, "format", name, f);
}

}  // namespace pare
