#pragma once

#include "pare/formats/type_list.hpp"
#include "pare/kernels/layout/block_sparse.hpp"
#include "pare/kernels/layout/two_four.hpp"

namespace pare {

/// Every sparse layout: the only list of them. Names, AnyPackedMatrix, dispatch and files are
/// generated from it.
using AllSparseLayouts = TypeList<BlockSparse<32>, BlockSparse<16>, TwoFour>;

}  // namespace pare
