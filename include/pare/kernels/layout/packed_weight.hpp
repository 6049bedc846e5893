#pragma once

#include <concepts>
#include <string_view>

#include "pare/formats/format.hpp"
#include "pare/kernels/layout/packed_sections.hpp"
#include "pare/kernels/layout/packed_storage.hpp"

namespace pare {

/// A weight that kernels read, of a format and in a layout that its type knows: a PackedMatrix or
/// a SparseMatrix.
template <class W>
concept PackedWeight = Format<typename W::format> && requires(const W& w) {
  { W::layout::name } -> std::convertible_to<std::string_view>;
  { w.shape() } -> std::same_as<const PackedShape&>;
  { w.storage() } -> std::same_as<const PackedStorage&>;
};

}  // namespace pare
