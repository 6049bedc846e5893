#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pare/core/tensor.hpp"
#include "pare/io/dtype.hpp"

namespace pare {

static_assert(std::endian::native == std::endian::little, "files are little-endian");

/// A tensor as a file declares it.
struct TensorSpec {
  std::string name;
  DType dtype = DType::F32;
  std::vector<Index> shape;
};

/// A tensor inside a file: row-major little-endian elements, at any alignment.
struct TensorInfo {
  DType dtype = DType::F32;
  std::vector<Index> shape;
  std::span<const std::byte> bytes;
};

/// A tensor on its way to a file.
struct NamedTensor {
  std::string name;
  DType dtype = DType::F32;
  std::vector<Index> shape;
  std::vector<std::byte> data;

  [[nodiscard]] TensorSpec spec() const { return {name, dtype, shape}; }
  [[nodiscard]] TensorInfo info() const { return {dtype, shape, data}; }
};

/// What holds tensors by name: a SafetensorsReader, a SafetensorsCollection or the like.
template <class S>
concept TensorSource = requires(S& source, std::string_view name) {
  { source.contains(name) } -> std::convertible_to<bool>;
  { source.info(name) } -> std::convertible_to<const TensorInfo&>;
};

[[nodiscard]] inline std::string to_string(const std::vector<Index>& shape) {
  std::string text = "[";
  for (std::size_t d = 0; d < shape.size(); ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + "]";
}

namespace detail {

/// A name for messages: in quotes, one printable line, not endless.
[[nodiscard]] inline std::string in_quotes(std::string_view name) {
  constexpr std::size_t longest = 200;
  std::string text = "\"";
  for (const char c : name.substr(0, longest)) text += c >= ' ' && c <= '~' ? c : '?';
  return text + (name.size() > longest ? "...\"" : "\"");
}

/// Bytes that a tensor takes, or nothing if the count overflows or is not whole.
[[nodiscard]] inline std::optional<std::uint64_t> stored_bytes(DType dtype,
                                                               std::span<const Index> shape) {
  std::uint64_t count = static_cast<std::uint64_t>(bits(dtype));
  for (const Index extent : shape) {
    const auto n = static_cast<std::uint64_t>(extent);
    if (n != 0 && count > std::numeric_limits<std::uint64_t>::max() / n) return std::nullopt;
    count *= n;
  }
  if (count % 8 != 0) return std::nullopt;
  return count / 8;
}

template <class T>
void convert_to_float(std::span<const std::byte> bytes, float* values) {
  const std::size_t count = bytes.size() / sizeof(T);
  for (std::size_t i = 0; i < count; ++i) {
    T element;
    std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = static_cast<float>(element);
  }
}

inline void convert_to_float(const TensorInfo& tensor, float* values) {
  switch (tensor.dtype) {
    case DType::F32:
      return convert_to_float<float>(tensor.bytes, values);
    case DType::F16:
      return convert_to_float<Float16>(tensor.bytes, values);
    case DType::BF16:
      return convert_to_float<BFloat16>(tensor.bytes, values);
    case DType::F64:
      return convert_to_float<double>(tensor.bytes, values);
    default:
      throw FormatError("the elements are " + std::string(to_string(tensor.dtype)) +
                        ", but F32, F16, BF16 or F64 is needed");
  }
}

inline void require_rank(const TensorInfo& tensor, std::size_t rank) {
  if (tensor.shape.size() != rank)
    throw ShapeError("the shape is " + to_string(tensor.shape) + ", but rank " +
                     std::to_string(rank) + " is needed");
}

template <class T>
[[nodiscard]] std::vector<std::byte> to_bytes(std::span<const T> values) {
  std::vector<std::byte> bytes(values.size_bytes());
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), values.size_bytes());
  return bytes;
}

}  // namespace detail

/// Values as float32: exact from F32, F16 and BF16, rounded to nearest from F64.
/// Errors    ShapeError unless the rank is 2; FormatError for another type of element
[[nodiscard]] inline Matrix<float> to_matrix(const TensorInfo& tensor) {
  detail::require_rank(tensor, 2);
  Matrix<float> values({tensor.shape[0], tensor.shape[1]});
  detail::convert_to_float(tensor, values.data());
  return values;
}

/// As to_matrix, for rank 1.
[[nodiscard]] inline Vector<float> to_vector(const TensorInfo& tensor) {
  detail::require_rank(tensor, 1);
  Vector<float> values({tensor.shape[0]});
  detail::convert_to_float(tensor, values.data());
  return values;
}

/// The elements of a tensor of any rank whose type is exactly T's; FormatError otherwise.
template <class T>
[[nodiscard]] std::vector<T> elements_as(const TensorInfo& tensor) {
  if (tensor.dtype != dtype_of<T>())
    throw FormatError("the elements are " + std::string(to_string(tensor.dtype)) + ", but " +
                      std::string(to_string(dtype_of<T>())) + " is needed");
  std::vector<T> elements(tensor.bytes.size() / sizeof(T));
  if (!elements.empty()) std::memcpy(elements.data(), tensor.bytes.data(), tensor.bytes.size());
  return elements;
}

}  // namespace pare
