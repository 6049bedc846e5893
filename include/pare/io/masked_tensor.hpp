#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/formats/mask.hpp"
#include "pare/io/mask_tensor.hpp"
#include "pare/io/stored_tensor.hpp"

/// A matrix with many zeros as a mask and what the mask keeps: F16 with half of it zero takes 9
/// bits a weight in place of 16.
namespace pare {

namespace detail {

/// Calls f(offset in bytes of an element of the matrix) for each that the mask keeps, row by row.
template <class F>
void for_each_kept(const Mask& mask, std::size_t element_bytes, F&& f) {
  for (Index i = 0; i < mask.rows(); ++i) {
    Index word_begin = i * mask.cols();
    for (std::uint64_t bits : mask.row_words(i)) {
      for (; bits != 0; bits &= bits - 1)
        f(static_cast<std::size_t>(word_begin + std::countr_zero(bits)) * element_bytes);
      word_begin += Mask::word_bits;
    }
  }
}

inline void require_maskable(DType dtype) {
  if (dtype != DType::F32 && dtype != DType::F16 && dtype != DType::BF16)
    throw FormatError("the elements are " + std::string(to_string(dtype)) +
                      ", but F32, F16 or BF16 is needed");
}

}  // namespace detail

/// The matrix `name` as three tensors that unmasked_tensor reads, without loss: -0 and NaN are kept
/// like other numbers, only elements whose bits are all 0 go.
///
/// Shapes    a matrix (rows, cols) of which n elements are kept: <name>_mask U8
///           [rows, ceil(cols / 8)], see mask_tensor; <name>_values [n] in the matrix's type, row
///           by row; <name>_shape I64 [2]
/// Errors    ShapeError unless the rank is 2; FormatError unless the type is F32, F16 or BF16
[[nodiscard]] inline std::vector<NamedTensor> masked_tensors(const std::string& name,
                                                             const TensorInfo& matrix) {
  detail::require_rank(matrix, 2);
  detail::require_maskable(matrix.dtype);
  const Index rows = matrix.shape[0], cols = matrix.shape[1];
  const auto size = static_cast<std::size_t>(bits(matrix.dtype) / 8);
  Mask mask(rows, cols, false);
  const std::byte* from = matrix.bytes.data();
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j, from += size) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, from, size);
      if (bits != 0) mask.set(i, j, true);
    }
  const Index kept = mask.kept();
  NamedTensor values{name + "_values", matrix.dtype, {kept}, {}};
  values.data.resize(static_cast<std::size_t>(kept) * size);
  std::byte* to = values.data.data();
  detail::for_each_kept(mask, size, [&](std::size_t offset) {
    std::memcpy(to, matrix.bytes.data() + offset, size);
    to += size;
  });
  const std::int64_t shape[]{rows, cols};
  std::vector<NamedTensor> tensors;
  tensors.push_back(mask_tensor(name + "_mask", mask));
  tensors.push_back(std::move(values));
  tensors.push_back(
      {name + "_shape", DType::I64, {2}, detail::to_bytes(std::span<const std::int64_t>(shape))});
  return tensors;
}

/// True when the matrix `name` is stored as masked_tensors does it.
template <TensorSource Source>
[[nodiscard]] bool is_masked(Source& source, const std::string& name) {
  return source.contains(name + "_values");
}

/// The shape of a matrix that is stored so.
///
/// Errors    FormatError naming the tensor when it is missing, or is no shape
template <TensorSource Source>
[[nodiscard]] Shape<2> masked_shape(Source& source, const std::string& name) {
  const TensorInfo& tensor = source.info(name + "_shape");
  return with_context(name + "_shape", [&] {
    if (tensor.shape != std::vector<Index>{2})
      throw FormatError("the shape is " + to_string(tensor.shape) + ", but [2] is needed");
    const auto extents = elements_as<std::int64_t>(tensor);
    constexpr std::int64_t limit = std::int64_t{1} << 40;  // keeps every product in range
    const Shape<2> shape{extents[0], extents[1]};
    if (shape[0] < 0 || shape[1] < 0 || shape[0] > limit || shape[1] > limit)
      throw FormatError("shape " + to_string(shape) + " is absurd");
    return shape;
  });
}

/// The matrix that masked_tensors stored under `name`, bit for bit.
///
/// Errors    FormatError naming the tensor that is missing, of another type or shape, has a bit
///           beyond the end of a row, or holds another number of values than the mask keeps
template <TensorSource Source>
[[nodiscard]] NamedTensor unmasked_tensor(Source& source, const std::string& name) {
  const Shape<2> shape = masked_shape(source, name);
  const TensorInfo& values = source.info(name + "_values");
  const TensorInfo& mask_info = source.info(name + "_mask");
  // A shape of no elements may have any number of rows: only what has elements is visited.
  const bool is_empty = shape[0] == 0 || shape[1] == 0;
  const Mask mask =
      with_context(name + "_mask", [&] { return is_empty ? Mask{} : read_mask(mask_info, shape); });
  with_context(name + "_values", [&] {
    detail::require_maskable(values.dtype);
    if (values.shape != std::vector<Index>{mask.kept()})
      throw FormatError("the shape is " + to_string(values.shape) + ", but the mask keeps " +
                        std::to_string(mask.kept()) + " values");
  });
  const auto size = static_cast<std::size_t>(bits(values.dtype) / 8);
  NamedTensor matrix{name, values.dtype, {shape[0], shape[1]}, {}};
  matrix.data.resize(is_empty ? 0 : static_cast<std::size_t>(shape[0] * shape[1]) * size);
  const std::byte* from = values.bytes.data();
  detail::for_each_kept(mask, size, [&](std::size_t offset) {
    std::memcpy(matrix.data.data() + offset, from, size);
    from += size;
  });
  return matrix;
}

/// The matrix `name` in float32, stored so or as a tensor of that name.
///
/// Errors    as unmasked_tensor, to_matrix
template <TensorSource Source>
[[nodiscard]] Matrix<float> read_maybe_masked(Source& source, const std::string& name) {
  if (!is_masked(source, name)) return to_matrix(source.info(name));
  return to_matrix(unmasked_tensor(source, name).info());
}

}  // namespace pare
