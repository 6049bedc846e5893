#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "pare/core/error.hpp"
#include "pare/formats/mask.hpp"
#include "pare/io/stored_tensor.hpp"

namespace pare {

/// A mask as a tensor: U8 [rows, ceil(cols / 8)], a bit for each weight, the first in the lowest
/// bit of a row's first byte, 1 = kept; bits beyond the row are 0.
[[nodiscard]] inline NamedTensor mask_tensor(std::string name, const Mask& mask) {
  const Index bytes_per_row = ceil_div(mask.cols(), Index{8});
  NamedTensor tensor{std::move(name), DType::U8, {mask.rows(), bytes_per_row}, {}};
  tensor.data.reserve(static_cast<std::size_t>(mask.rows() * bytes_per_row));
  for (Index i = 0; i < mask.rows(); ++i)
    for (Index b = 0; b < bytes_per_row; ++b) {
      const std::uint64_t word = mask.row_words(i)[static_cast<std::size_t>(b / 8)];
      tensor.data.push_back(static_cast<std::byte>(word >> (8 * (b % 8)) & 0xff));
    }
  return tensor;
}

/// The mask of a weight of this shape from such a tensor. Throws FormatError when the tensor has
/// another type or shape, or a bit beyond the end of a row.
[[nodiscard]] inline Mask read_mask(const TensorInfo& tensor, Shape<2> shape) {
  const Index bytes_per_row = ceil_div(shape[1], Index{8});
  if (tensor.dtype != DType::U8 || tensor.shape != std::vector<Index>{shape[0], bytes_per_row})
    throw FormatError("a mask of shape " + to_string(shape) + " is stored as U8 [" +
                      std::to_string(shape[0]) + ", " + std::to_string(bytes_per_row) +
                      "], not as " + std::string(to_string(tensor.dtype)) + " " +
                      to_string(tensor.shape));
  Mask mask(shape[0], shape[1], false);
  for (Index i = 0; i < shape[0]; ++i)
    for (Index b = 0; b < bytes_per_row; ++b) {
      const auto byte =
          std::to_integer<unsigned>(tensor.bytes[static_cast<std::size_t>(i * bytes_per_row + b)]);
      for (Index bit = 0; bit < 8; ++bit) {
        if ((byte >> bit & 1u) == 0) continue;
        if (8 * b + bit >= shape[1])
          throw FormatError("row " + std::to_string(i) + " of a mask has a bit beyond its " +
                            std::to_string(shape[1]) + " weights");
        mask.set(i, 8 * b + bit, true);
      }
    }
  return mask;
}

}  // namespace pare
