#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <new>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "pare/core/huge_pages.hpp"
#include "pare/core/tensor_view.hpp"

namespace pare {

/// Alignment of owned memory: one cache line, and the widest vector register.
inline constexpr std::size_t tensor_alignment_bytes = 64;

/// Large blocks lie in huge pages: made one by one, pages of 4 KiB cost more than to fill them.
template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() noexcept = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) noexcept {}
  [[nodiscard]] T* allocate(std::size_t n) {
    if (n > std::size_t(-1) / sizeof(T)) throw std::bad_array_new_length();
#if PARE_HUGE_PAGES
    if (n * sizeof(T) >= mapped_bytes)
      return static_cast<T*>(static_cast<void*>(detail::map_huge_pages(n * sizeof(T))));
#endif
    return static_cast<T*>(
        ::operator new (n * sizeof(T), std::align_val_t{tensor_alignment_bytes}));
  }
  void deallocate(T* p, [[maybe_unused]] std::size_t n) noexcept {
#if PARE_HUGE_PAGES
    if (n * sizeof(T) >= mapped_bytes) return detail::unmap_huge_pages(p, n * sizeof(T));
#endif
    ::operator delete (p, std::align_val_t{tensor_alignment_bytes});
  }
  friend bool operator==(AlignedAllocator, AlignedAllocator) noexcept { return true; }

 private:
  /// Where allocators of C libraries begin to map every block anew; smaller ones they reuse.
  static constexpr std::size_t mapped_bytes = std::size_t{32} << 20;
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

/// Owning row-major tensor of trivially copyable elements, 64-byte aligned, zero-initialized.
/// One that was moved from is empty, with extents of zero.
template <class T, std::size_t Rank>
class Tensor {
  static_assert(std::is_trivially_copyable_v<T> && !std::same_as<T, bool>);

 public:
  using value_type = T;
  static constexpr std::size_t rank = Rank;

  Tensor() = default;
  Tensor(const Tensor&) = default;
  Tensor& operator=(const Tensor&) = default;
  Tensor(Tensor&& other) noexcept
      : shape_(std::exchange(other.shape_, {})), data_(std::exchange(other.data_, {})) {}
  Tensor& operator=(Tensor&& other) noexcept {
    shape_ = std::exchange(other.shape_, {});
    data_ = std::exchange(other.data_, {});
    return *this;
  }
  explicit Tensor(Shape<Rank> shape)
      : shape_(shape), data_(static_cast<std::size_t>(element_count(shape))) {}

  /// Copies a view, converting elements with static_cast.
  template <class U>
  explicit Tensor(TensorView<U, Rank> source) : Tensor(source.shape()) {
    copy(source, view());
  }

  [[nodiscard]] TensorView<T, Rank> view() noexcept { return {data_.data(), shape_}; }
  [[nodiscard]] TensorView<const T, Rank> view() const noexcept { return {data_.data(), shape_}; }
  operator TensorView<T, Rank>() noexcept { return view(); }
  operator TensorView<const T, Rank>() const noexcept { return view(); }

  template <std::convertible_to<Index>... I>
  requires(sizeof...(I) == Rank) [[nodiscard]] T& operator()(I... index) noexcept {
    return data_[offset(index...)];
  }
  template <std::convertible_to<Index>... I>
  requires(sizeof...(I) == Rank) [[nodiscard]] const T& operator()(I... index) const noexcept {
    return data_[offset(index...)];
  }
  [[nodiscard]] T& operator[](Index i) noexcept requires(Rank == 1) {
    return data_[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] const T& operator[](Index i) const noexcept requires(Rank == 1) {
    return data_[static_cast<std::size_t>(i)];
  }

  [[nodiscard]] T* data() noexcept { return data_.data(); }
  [[nodiscard]] const T* data() const noexcept { return data_.data(); }
  [[nodiscard]] const Shape<Rank>& shape() const noexcept { return shape_; }
  [[nodiscard]] Index extent(std::size_t d) const noexcept { return shape_[d]; }
  [[nodiscard]] Index size() const noexcept { return static_cast<Index>(data_.size()); }
  [[nodiscard]] bool empty() const noexcept { return data_.empty(); }
  [[nodiscard]] Index rows() const noexcept requires(Rank == 2) { return shape_[0]; }
  [[nodiscard]] Index cols() const noexcept requires(Rank == 2) { return shape_[1]; }
  [[nodiscard]] TensorView<T, Rank - 1> row(Index i) { return view().row(i); }
  [[nodiscard]] TensorView<const T, Rank - 1> row(Index i) const { return view().row(i); }

  /// Every element in memory order: for loops, algorithms and what takes a span.
  [[nodiscard]] T* begin() noexcept { return data(); }
  [[nodiscard]] const T* begin() const noexcept { return data(); }
  [[nodiscard]] T* end() noexcept { return data() + size(); }
  [[nodiscard]] const T* end() const noexcept { return data() + size(); }
  [[nodiscard]] std::span<T> span() noexcept { return {data_.data(), data_.size()}; }
  [[nodiscard]] std::span<const T> span() const noexcept { return {data_.data(), data_.size()}; }

  void fill(T value) { std::fill(data_.begin(), data_.end(), value); }
  friend bool operator==(const Tensor&, const Tensor&) = default;

 private:
  /// Not through view(): making a view checks its shape, too much work for one element.
  template <class... I>
  [[nodiscard]] std::size_t offset(I... index) const noexcept {
    const Shape<Rank> position{static_cast<Index>(index)...};
    Index sum = 0;
    for (std::size_t d = 0; d < Rank; ++d) sum = sum * shape_[d] + position[d];
    return static_cast<std::size_t>(sum);
  }

  Shape<Rank> shape_{};
  AlignedVector<T> data_;
};

template <class T>
using Matrix = Tensor<T, 2>;
template <class T>
using Vector = Tensor<T, 1>;

}  // namespace pare
