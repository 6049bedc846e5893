#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "pare/core/finite.hpp"
#include "pare/formats/bit_packing.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/formats/type_list.hpp"
#include "pare/io/stored_tensor.hpp"

/// What the checkpoint layouts share: checked access to the tensors of one quantized layer.
namespace pare::detail {

template <class T>
[[nodiscard]] NamedTensor make_tensor(std::string name, DType dtype, std::vector<Index> shape,
                                      std::span<const T> elements) {
  return {std::move(name), dtype, std::move(shape), to_bytes(elements)};
}

template <class T>
[[nodiscard]] NamedTensor make_tensor(std::string name, DType dtype, const Matrix<T>& elements) {
  return make_tensor<T>(std::move(name), dtype, {elements.rows(), elements.cols()},
                        {elements.data(), static_cast<std::size_t>(elements.size())});
}

/// The scales of a layer in their storage type; `scales` holds them as they are stored.
[[nodiscard]] inline NamedTensor make_scale_tensor(std::string name, const Matrix<float>& scales,
                                                   ScaleType type) {
  const auto as = [&]<class T>(TypeTag<T>) {
    return make_tensor(std::move(name), dtype_of(type), Matrix<T>(scales.view()));
  };
  if (type == ScaleType::f16) return as(TypeTag<Float16>{});
  if (type == ScaleType::bf16) return as(TypeTag<BFloat16>{});
  return as(TypeTag<float>{});
}

inline void require_shape(const TensorInfo& tensor, std::string_view what,
                          const std::vector<Index>& shape) {
  if (tensor.shape != shape)
    throw FormatError(std::string(what) + " has shape " + to_string(tensor.shape) + ", but " +
                      to_string(shape) + " is needed");
}

inline void require_dtype(const TensorInfo& tensor, std::string_view what, DType dtype) {
  if (tensor.dtype != dtype)
    throw FormatError(std::string(what) + " is " + std::string(to_string(tensor.dtype)) + ", but " +
                      std::string(to_string(dtype)) + " is needed");
}

/// A matrix of shape (rows, cols) whose elements are bitwise T's.
template <class T>
[[nodiscard]] Matrix<T> read_elements(const TensorInfo& tensor, std::string_view what, DType dtype,
                                      Shape<2> shape) {
  static_assert(std::is_trivially_copyable_v<T>);
  require_dtype(tensor, what, dtype);
  require_shape(tensor, what, {shape[0], shape[1]});
  Matrix<T> elements(shape);
  if (!elements.empty()) std::memcpy(elements.data(), tensor.bytes.data(), tensor.bytes.size());
  return elements;
}

[[nodiscard]] inline ScaleType require_scale_type(const TensorInfo& scales) {
  const auto type = scale_type_of(scales.dtype);
  if (!type)
    throw FormatError("scales are " + std::string(to_string(scales.dtype)) +
                      ", but F16, BF16 or F32 is needed");
  return *type;
}

/// Scales as float32. Some tools store negative ones, and 0 for blocks that are zero: any finite
/// number is a scale to read, whatever the quantizers here would write.
[[nodiscard]] inline Matrix<float> read_scales(const TensorInfo& tensor, Shape<2> shape) {
  require_shape(tensor, "scales", {shape[0], shape[1]});
  Matrix<float> scales = to_matrix(tensor);
  for (Index k = 0; k < scales.size(); ++k)
    if (const float scale = scales.data()[k]; !is_finite(scale))
      throw FormatError("scale " + std::to_string(scale) + " at [" +
                        std::to_string(k / scales.cols()) + ", " +
                        std::to_string(k % scales.cols()) + "] is not a finite number");
  return scales;
}

/// The unsigned numbers that stand for the codes of row i. Throws ArgumentError as stored_code.
template <Format F>
void store_row(const QuantizedMatrix<F>& q, Index i, std::span<std::uint8_t> stored) {
  for (Index j = 0; j < q.cols(); ++j) stored[static_cast<std::size_t>(j)] = stored_code(q, i, j);
}

/// The reverse, for numbers of code_bits bits. Throws FormatError for one that is no code.
template <Format F>
void load_row(std::span<const std::uint8_t> stored, Index i, QuantizedMatrix<F>& q) {
  typename F::Code* codes = q.codes().row(i).data();
  for (std::size_t j = 0; j < stored.size(); ++j) {
    if (stored[j] >= code_count<F>())
      throw FormatError("code " + std::to_string(stored[j]) + " stored at [" + std::to_string(i) +
                        ", " + std::to_string(j) + "] is no " + std::string(F::name));
    codes[j] = from_stored<F>(stored[j]);
  }
}

/// The code that stands for zero, as the unsigned number stored: value = scale * (stored - zero).
template <Format F>
[[nodiscard]] std::uint8_t stored_zero(const typename F::Parameters& parameters, Index i, Index g) {
  const int zero = F::code_offset + F::zero_point(parameters);
  if (zero < 0 || zero >> F::code_bits != 0)
    throw ArgumentError("the zero point of group [" + std::to_string(i) + ", " + std::to_string(g) +
                        "] does not fit in " + std::to_string(F::code_bits) + " bits");
  return static_cast<std::uint8_t>(zero);
}

/// The scales of q as (groups, rows): the orientation of GPTQ and AWQ files.
template <Format F>
[[nodiscard]] Matrix<float> transposed_scales(const QuantizedMatrix<F>& q) {
  Matrix<float> scales({q.groups(), q.rows()});
  for (Index i = 0; i < q.rows(); ++i)
    for (Index g = 0; g < q.groups(); ++g) scales(g, i) = q.parameters()(i, g).scale;
  return scales;
}

/// Runs `f`; a complaint of the library about what a file made it do is the file's fault.
template <class F>
decltype(auto) blame_file(F&& f) {
  try {
    return std::forward<F>(f)();
  } catch (const ArgumentError& e) {
    throw FormatError(e.what());
  } catch (const ShapeError& e) {
    throw FormatError(e.what());
  }
}

[[nodiscard]] inline std::string layer_label(std::string_view name) {
  return "layer " + in_quotes(name);
}

}  // namespace pare::detail
