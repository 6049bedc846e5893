#pragma once

#include "pare/formats/fp4.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/nf4.hpp"
#include "pare/formats/ternary.hpp"
#include "pare/formats/type_list.hpp"
#include "pare/formats/uint.hpp"

namespace pare {

/// Every weight format: the only list of them. Names, type-erased holders, dispatch and io are
/// generated from it.
using AllFormats =
    TypeList<Int<2>, Int<3>, Int<4>, Int<5>, Int<6>, Int<7>, Int<8>, UInt<2>, UInt<3>, UInt<4>,
             UInt<5>, UInt<6>, UInt<7>, UInt<8>, NF4, FP4, Ternary>;

}  // namespace pare
