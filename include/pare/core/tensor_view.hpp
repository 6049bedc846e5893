#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <iterator>
#include <limits>
#include <string>
#include <type_traits>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"

namespace pare {

template <std::size_t Rank>
using Shape = std::array<Index, Rank>;

/// "[3, 4]", for messages.
template <std::size_t Rank>
[[nodiscard]] std::string to_string(const Shape<Rank>& shape) {
  std::string text = "[";
  for (std::size_t d = 0; d < Rank; ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + "]";
}

/// Number of elements. Throws ShapeError for a negative extent or a product beyond Index.
template <std::size_t Rank>
[[nodiscard]] constexpr Index element_count(const Shape<Rank>& shape) {
  Index count = 1;
  for (Index extent : shape) {
    if (extent < 0) throw ShapeError("negative extent in shape " + to_string(shape));
    if (extent != 0 && count > std::numeric_limits<Index>::max() / extent)
      throw ShapeError("shape " + to_string(shape) + " overflows the index type");
    count *= extent;
  }
  return count;
}

template <std::size_t Rank>
[[nodiscard]] constexpr Shape<Rank> row_major_strides(const Shape<Rank>& shape) noexcept {
  Shape<Rank> strides{};
  // Unsigned: shapes that element_count refuses may overflow here.
  std::size_t stride = 1;
  for (std::size_t d = Rank; d-- > 0;) {
    strides[d] = static_cast<Index>(stride);
    stride *= static_cast<std::size_t>(shape[d]);
  }
  return strides;
}

/// Anything with the interface of std::mdspan over plain memory (also Kokkos' and other ports).
template <class M>
concept MdspanLike = requires(const M& m) {
  typename M::element_type;
  typename M::mapping_type;
  { m.extent(0) } -> std::convertible_to<Index>;
  { m.stride(0) } -> std::convertible_to<Index>;
  { m.data_handle() } -> std::convertible_to<typename M::element_type*>;
  { M::rank() } -> std::convertible_to<std::size_t>;
};

/// Contiguous memory with a length: std::vector, std::span, std::array, C arrays.
template <class R, class T>
concept ContiguousRangeOf = requires(R& r) {
  { std::data(r) } -> std::convertible_to<T*>;
  { std::size(r) } -> std::convertible_to<std::size_t>;
  { std::begin(r) } -> std::contiguous_iterator;
};

/// What says its own shape, as Tensor does: it is not a range of elements to who wants a vector.
template <class R>
concept Shaped = requires(const R& r) {
  r.shape();
};

/// A non-owning, strided window on memory: trivially copyable, const-correct, any rank.
///
/// Strides count elements and may be negative or zero. `operator()` does not check bounds; `at`
/// does. A view is valid as long as the memory it was made from.
template <class T, std::size_t Rank>
class TensorView {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;
  static constexpr std::size_t rank = Rank;

  constexpr TensorView() noexcept = default;

  /// Row-major memory at `data`. Throws ShapeError for a negative extent or an overflow.
  constexpr TensorView(T* data, Shape<Rank> shape)
      : data_(data), shape_(shape), strides_(row_major_strides(shape)) {
    (void)element_count(shape);
  }

  constexpr TensorView(T* data, Shape<Rank> shape, Shape<Rank> strides)
      : data_(data), shape_(shape), strides_(strides) {
    (void)element_count(shape);
  }

  /// A container's memory read with a shape. Throws ShapeError when it holds too few elements.
  template <ContiguousRangeOf<T> R>
  constexpr TensorView(R&& range, Shape<Rank> shape) : TensorView(std::data(range), shape) {
    if (element_count(shape) > static_cast<Index>(std::size(range)))
      throw ShapeError("shape " + to_string(shape) + " needs more than the " +
                       std::to_string(std::size(range)) + " elements given");
  }

  /// A vector, span or array as a view of rank 1.
  template <ContiguousRangeOf<T> R>
  requires(Rank == 1 && !Shaped<R>) constexpr TensorView(R&& range)
      : TensorView(std::data(range), {static_cast<Index>(std::size(range))}) {}

  /// Throws ShapeError for extents that Index cannot count.
  template <MdspanLike M>
  requires(M::rank() == Rank &&
           std::convertible_to<typename M::element_type*, T*>) constexpr TensorView(const M& m)
      : data_(m.data_handle()) {
    for (std::size_t d = 0; d < Rank; ++d) {
      shape_[d] = static_cast<Index>(m.extent(d));
      strides_[d] = static_cast<Index>(m.stride(d));
    }
    (void)element_count(shape_);
  }

  /// Adds const: TensorView<float, R> converts to TensorView<const float, R>, never back.
  template <class U>
  requires(!std::same_as<U, T> &&
           std::same_as<const U, T>) constexpr TensorView(const TensorView<U, Rank>& other) noexcept
      : data_(other.data()), shape_(other.shape()), strides_(other.strides()) {}

  template <std::convertible_to<Index>... I>
  requires(sizeof...(I) == Rank) [[nodiscard]] constexpr T& operator()(I... index) const noexcept {
    return data_[offset(index...)];
  }

  [[nodiscard]] constexpr T& operator[](Index i) const noexcept requires(Rank == 1) {
    return data_[i * strides_[0]];
  }

  /// Like operator(), but throws ShapeError outside the bounds.
  template <std::convertible_to<Index>... I>
  requires(sizeof...(I) == Rank) [[nodiscard]] constexpr T& at(I... index) const {
    const Shape<Rank> position{static_cast<Index>(index)...};
    for (std::size_t d = 0; d < Rank; ++d)
      if (position[d] < 0 || position[d] >= shape_[d])
        throw ShapeError("index " + to_string(position) + " is outside shape " + to_string(shape_));
    return data_[offset(index...)];
  }

  [[nodiscard]] constexpr T* data() const noexcept { return data_; }
  [[nodiscard]] constexpr const Shape<Rank>& shape() const noexcept { return shape_; }
  [[nodiscard]] constexpr const Shape<Rank>& strides() const noexcept { return strides_; }
  [[nodiscard]] constexpr Index extent(std::size_t d) const noexcept { return shape_[d]; }
  [[nodiscard]] constexpr Index stride(std::size_t d) const noexcept { return strides_[d]; }
  [[nodiscard]] constexpr Index size() const noexcept {
    Index count = 1;
    for (Index extent : shape_) count *= extent;
    return count;
  }
  [[nodiscard]] constexpr bool empty() const noexcept { return size() == 0; }

  [[nodiscard]] constexpr Index rows() const noexcept requires(Rank == 2) { return shape_[0]; }
  [[nodiscard]] constexpr Index cols() const noexcept requires(Rank == 2) { return shape_[1]; }

  /// Row-major without gaps (extents of one may have any stride).
  [[nodiscard]] constexpr bool is_contiguous() const noexcept {
    if (empty()) return true;
    Index expected = 1;
    for (std::size_t d = Rank; d-- > 0;) {
      if (shape_[d] != 1 && strides_[d] != expected) return false;
      expected *= shape_[d];
    }
    return true;
  }

  /// Dimension `dim` fixed at `index`: one rank less. Throws ShapeError outside the bounds.
  [[nodiscard]] constexpr TensorView<T, Rank - 1> select(std::size_t dim, Index index) const
      requires(Rank > 0) {
    if (dim >= Rank || index < 0 || index >= shape_[dim])
      throw ShapeError("cannot select index " + std::to_string(index) + " of dimension " +
                       std::to_string(dim) + " of shape " + to_string(shape_));
    Shape<Rank - 1> shape{}, strides{};
    for (std::size_t d = 0, out = 0; d < Rank; ++d) {
      if (d == dim) continue;
      shape[out] = shape_[d];
      strides[out++] = strides_[d];
    }
    return {advanced(index * strides_[dim]), shape, strides};
  }

  [[nodiscard]] constexpr TensorView<T, Rank - 1> row(Index i) const requires(Rank > 0) {
    return select(0, i);
  }

  /// Elements [begin, begin + count) of dimension `dim`. Throws ShapeError outside the bounds.
  [[nodiscard]] constexpr TensorView slice(std::size_t dim, Index begin, Index count) const
      requires(Rank > 0) {
    if (dim >= Rank || begin < 0 || count < 0 || begin > shape_[dim] - count)
      throw ShapeError("slice [" + std::to_string(begin) + ", +" + std::to_string(count) +
                       ") of dimension " + std::to_string(dim) + " leaves shape " +
                       to_string(shape_));
    TensorView part = *this;
    part.data_ = advanced(begin * strides_[dim]);
    part.shape_[dim] = count;
    return part;
  }

  /// Dimension d of the result is dimension `order[d]` of this view.
  [[nodiscard]] constexpr TensorView permuted(const std::array<std::size_t, Rank>& order) const {
    TensorView result = *this;
    std::array<bool, Rank> seen{};
    for (std::size_t d = 0; d < Rank; ++d) {
      if (order[d] >= Rank || seen[order[d]])
        throw ShapeError("the order given is not a permutation of the dimensions");
      seen[order[d]] = true;
      result.shape_[d] = shape_[order[d]];
      result.strides_[d] = strides_[order[d]];
    }
    return result;
  }

  [[nodiscard]] constexpr TensorView transposed() const noexcept requires(Rank == 2) {
    // Not through a constructor, which may throw: the extents were checked already.
    TensorView result = *this;
    result.shape_ = {shape_[1], shape_[0]};
    result.strides_ = {strides_[1], strides_[0]};
    return result;
  }

 private:
  template <class... I>
  [[nodiscard]] constexpr Index offset(I... index) const noexcept {
    const Shape<Rank> position{static_cast<Index>(index)...};
    Index sum = 0;
    for (std::size_t d = 0; d < Rank; ++d) sum += position[d] * strides_[d];
    return sum;
  }

  /// The memory of an empty tensor may be null, and adding to null is undefined.
  [[nodiscard]] constexpr T* advanced(Index elements) const noexcept {
    return data_ ? data_ + elements : data_;
  }

  T* data_ = nullptr;
  Shape<Rank> shape_{};
  Shape<Rank> strides_{};
};

template <class T>
using MatrixView = TensorView<T, 2>;
template <class T>
using VectorView = TensorView<T, 1>;

/// Copies element by element between views of one shape; the types may differ (static_cast).
template <class S, class D, std::size_t Rank>
void copy(TensorView<S, Rank> src, TensorView<D, Rank> dst) {
  if (src.shape() != dst.shape())
    throw ShapeError("cannot copy shape " + to_string(src.shape()) + " to shape " +
                     to_string(dst.shape()));
  if constexpr (Rank == 0) {
    dst() = static_cast<D>(src());
  } else if constexpr (Rank == 1) {
    const Index n = src.extent(0);
    if (src.stride(0) == 1 && dst.stride(0) == 1)  // a block of memory, when the types agree
      for (Index i = 0; i < n; ++i) dst.data()[i] = static_cast<D>(src.data()[i]);
    else
      for (Index i = 0; i < n; ++i) dst[i] = static_cast<D>(src[i]);
  } else {
    for (Index i = 0; i < src.extent(0); ++i) copy(src.row(i), dst.row(i));
  }
}

}  // namespace pare
