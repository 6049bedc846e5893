#pragma once

#include <string_view>
#include <utility>
#include <variant>

#include "pare/formats/any_quantized_matrix.hpp"
#include "pare/kernels/pack.hpp"
#include "pare/kernels/packed_matrix.hpp"
#include "pare/kernels/unpack.hpp"

namespace pare {

/// A PackedMatrix of any format.
class AnyPackedMatrix {
 public:
  template <Format F>
  AnyPackedMatrix(PackedMatrix<F> matrix) : matrix_(std::move(matrix)) {}

  /// Calls `f` with the `PackedMatrix<F>` inside.
  template <class Visitor>
  decltype(auto) visit(Visitor&& f) const {
    return std::visit(std::forward<Visitor>(f), matrix_);
  }

  [[nodiscard]] std::string_view format() const {
    return visit([]<class F>(const PackedMatrix<F>&) { return F::name; });
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
  [[nodiscard]] double bits_per_weight() const {
    return visit([](const auto& w) { return w.bits_per_weight(); });
  }

  friend bool operator==(const AnyPackedMatrix&, const AnyPackedMatrix&) = default;

 private:
  apply_type_list<std::variant, PackedMatrix, AllFormats> matrix_;
};

[[nodiscard]] inline AnyPackedMatrix pack(const AnyQuantizedMatrix& q,
                                          const Execution& execution = {}) {
  return q.visit(
      [&]<class F>(const QuantizedMatrix<F>& m) -> AnyPackedMatrix { return pack(m, execution); });
}

[[nodiscard]] inline AnyQuantizedMatrix unpack(const AnyPackedMatrix& packed,
                                               const Execution& execution = {}) {
  return packed.visit([&]<class F>(const PackedMatrix<F>& m) -> AnyQuantizedMatrix {
    return unpack(m, execution);
  });
}

}  // namespace pare
