#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/tensor.hpp"

namespace pare {

/// Which weights of a matrix are kept: a bit each, 1 = kept.
///
/// Bits of a row are in words of 64, the first column in the lowest bit; a row begins with a word
/// of its own, and bits beyond its end are 0.
class Mask {
 public:
  static constexpr Index word_bits = 64;

  Mask() = default;
  /// Throws ShapeError for a negative extent.
  Mask(Index rows, Index cols, bool kept = true)
      : shape_{rows, cols}, words_per_row_(ceil_div(cols, word_bits)) {
    (void)element_count(shape_);
    words_.assign(static_cast<std::size_t>(rows * words_per_row_), kept ? ~std::uint64_t{0} : 0);
    for (Index i = 0; i < rows; ++i) clear_beyond(i);
  }

  [[nodiscard]] Index rows() const noexcept { return shape_[0]; }
  [[nodiscard]] Index cols() const noexcept { return shape_[1]; }
  [[nodiscard]] const Shape<2>& shape() const noexcept { return shape_; }
  [[nodiscard]] Index size() const noexcept { return rows() * cols(); }

  [[nodiscard]] bool operator()(Index row, Index col) const noexcept {
    return (words_[word(row, col)] >> (col % word_bits) & 1) != 0;
  }
  /// Rows may be written concurrently, columns of one not.
  void set(Index row, Index col, bool kept) noexcept {
    const std::uint64_t bit = std::uint64_t{1} << (col % word_bits);
    std::uint64_t& bits = words_[word(row, col)];
    bits = kept ? bits | bit : bits & ~bit;
  }
  /// The words of a row from one on, to be written, concurrently too: bits beyond the end of the
  /// row must be 0.
  [[nodiscard]] std::uint64_t* words_from(Index row, Index word_of_row) noexcept {
    return words_.data() + row * words_per_row_ + word_of_row;
  }
  /// Bits of columns [8 byte_of_row, 8 byte_of_row + 8), of those beyond the end of the row 0.
  [[nodiscard]] std::uint8_t byte(Index row, Index byte_of_row) const noexcept {
    return static_cast<std::uint8_t>(words_[word(row, 8 * byte_of_row)] >> byte_of_row % 8 * 8);
  }
  [[nodiscard]] std::span<const std::uint64_t> row_words(Index row) const noexcept {
    return {words_.data() + row * words_per_row_, static_cast<std::size_t>(words_per_row_)};
  }

  [[nodiscard]] Index kept() const noexcept {
    Index count = 0;
    for (const std::uint64_t bits : words_) count += std::popcount(bits);
    return count;
  }
  [[nodiscard]] Index kept_in_row(Index row) const noexcept {
    Index count = 0;
    for (const std::uint64_t bits : row_words(row)) count += std::popcount(bits);
    return count;
  }
  [[nodiscard]] Index removed() const noexcept { return size() - kept(); }
  /// The share that is kept, and the one that is not; an empty mask keeps all.
  [[nodiscard]] double density() const noexcept {
    return size() == 0 ? 1.0 : static_cast<double>(kept()) / static_cast<double>(size());
  }
  [[nodiscard]] double sparsity() const noexcept { return 1.0 - density(); }

  /// Keeps what both keep. Throws ShapeError for another shape.
  Mask& operator&=(const Mask& other) {
    require_shape(other.shape());
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= other.words_[i];
    return *this;
  }
  [[nodiscard]] friend Mask operator&(Mask a, const Mask& b) { return a &= b; }
  friend bool operator==(const Mask&, const Mask&) = default;

  /// w = 0 where it is not kept, whatever stood there. Throws ShapeError for another shape.
  template <class T>
  void apply(MatrixView<T> w) const {
    require_shape(w.shape());
    for (Index i = 0; i < rows(); ++i)
      for (Index j = 0; j < cols(); ++j)
        if (!(*this)(i, j)) w(i, j) = T{};
  }
  template <class T>
  void apply(Matrix<T>& w) const {
    apply(w.view());
  }

  /// True when of every `of` neighbours in a row at most `keep` are kept; of those at the end of a
  /// row that are fewer, too. Throws ArgumentError unless 0 <= keep <= of and of > 0.
  [[nodiscard]] bool is_n_of_m(Index keep, Index of) const;

 private:
  [[nodiscard]] std::size_t word(Index row, Index col) const noexcept {
    return static_cast<std::size_t>(row * words_per_row_ + col / word_bits);
  }
  void clear_beyond(Index row) {
    if (const Index rest = cols() % word_bits; rest != 0)
      words_[word(row, cols() - 1)] &= (std::uint64_t{1} << rest) - 1;
  }
  void require_shape(const Shape<2>& shape) const {
    if (shape != shape_)
      throw ShapeError("a mask of shape " + to_string(shape_) + " does not fit " +
                       to_string(shape));
  }

  Shape<2> shape_{};
  Index words_per_row_ = 0;
  std::vector<std::uint64_t> words_;
};

inline bool Mask::is_n_of_m(Index keep, Index of) const {
  if (of < 1 || keep < 0 || keep > of)
    throw ArgumentError(std::to_string(keep) + " of " + std::to_string(of) + " is no pattern");
  for (Index i = 0; i < rows(); ++i)
    for (Index begin = 0; begin < cols(); begin += of) {
      Index count = 0;
      for (Index j = begin; j < std::min(cols(), begin + of); ++j) count += (*this)(i, j);
      if (count > keep) return false;
    }
  return true;
}

/// What of a matrix is not zero.
template <class T>
[[nodiscard]] Mask nonzero_mask(MatrixView<T> w) {
  Mask mask(w.rows(), w.cols(), false);
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j)
      if (w(i, j) != std::remove_const_t<T>{}) mask.set(i, j, true);
  return mask;
}
template <class T>
[[nodiscard]] Mask nonzero_mask(const Matrix<T>& w) {
  return nonzero_mask(w.view());
}

}  // namespace pare
