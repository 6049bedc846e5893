#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "pare/formats/quantized_matrix.hpp"
#include "pare/io/layer_tensors.hpp"
#include "pare/io/stored_tensor.hpp"

/// The parameters of formats that say how they are stored, as tensors: <name>.<field>, one
/// for each block of the grid for fields of blocks, (1) for those of the whole tensor.
namespace pare::detail {

[[nodiscard]] constexpr DType dtype_of(FieldType type) noexcept {
  constexpr DType all[] = {DType::F32,     DType::F16, DType::BF16, DType::F8_E8M0,
                           DType::F8_E4M3, DType::U8,  DType::I8,   DType::I32};
  return all[static_cast<int>(type)];
}

/// Errors    ArgumentError naming a parameter that its type does not hold, or one of the tensor
///           that differs between blocks
template <StoresOwnParameters F>
void store_parameter_tensors(const std::string& name, const QuantizedMatrix<F>& q,
                             std::vector<NamedTensor>& tensors) {
  require_same_in_blocks(q);
  require_same_tensor_parameters(q);
  const auto put = [&](const auto& field, std::vector<Index> shape, Index rows, Index cols) {
    const auto size = static_cast<std::size_t>(bits(field.type) / 8);
    std::vector<std::byte> data(static_cast<std::size_t>(rows * cols) * size);
    std::byte* to = data.data();
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < cols; ++j, to += size)
        if (!field.store(q.block(i, j), to)) refuse_parameters<F>(q.block(i, j), field.scope, i, j);
    tensors.push_back({name + "." + std::string(field.name), dtype_of(field.type), std::move(shape),
                       std::move(data)});
  };
  const Shape<2> grid = q.block_grid();
  F::stored.for_each(FieldScope::block, [&](const auto& field) {
    put(field, {grid[0], grid[1]}, grid[0], grid[1]);
  });
  if (q.parameters().empty()) return;
  F::stored.for_each(FieldScope::tensor, [&](const auto& field) { put(field, {1}, 1, 1); });
}

/// The reverse. Throws FormatError for a tensor that is missing or of another type or shape, and
/// for parameters that are not usable.
template <StoresOwnParameters F, TensorSource Source>
void load_parameter_tensors(Source& source, const std::string& name, QuantizedMatrix<F>& q) {
  if (q.parameters().empty()) return;
  Matrix<typename F::Parameters> blocks(q.block_grid());
  const auto get = [&](const auto& field, const std::vector<Index>& shape) {
    const std::string tensor_name = name + "." + std::string(field.name);
    const TensorInfo& tensor = source.info(tensor_name);
    require_dtype(tensor, field.name, dtype_of(field.type));
    require_shape(tensor, field.name, shape);
    const auto size = static_cast<std::size_t>(bits(field.type) / 8);
    const std::byte* from = tensor.bytes.data();
    for (typename F::Parameters& block : blocks) {
      field.load(from, block);
      if (field.scope == FieldScope::block) from += size;
    }
  };
  F::stored.for_each(FieldScope::block, [&](const auto& field) {
    get(field, {blocks.rows(), blocks.cols()});
  });
  F::stored.for_each(FieldScope::tensor, [&](const auto& field) { get(field, {1}); });
  for (Index i = 0; i < blocks.rows(); ++i)
    for (Index j = 0; j < blocks.cols(); ++j) {
      if (!is_usable<F>(blocks(i, j)))
        throw FormatError("the parameters of block [" + std::to_string(i) + ", " +
                          std::to_string(j) + "] are of no use to " + std::string(F::name));
      q.set_block(i, j, blocks(i, j));
    }
}

}  // namespace pare::detail
