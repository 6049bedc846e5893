#pragma once

#include "pare/kernels/x86/amx/integer_tiles.hpp"
#include "pare/kernels/x86/avx512/quantize_activations.hpp"
#include "pare/kernels/x86/avx512vnni/integer.hpp"

namespace pare::kernels::amx {

/// AVX-512 VNNI's kernel with other tiles, for more tokens than it multiplies packed codes with.
template <class Codes>
[[nodiscard]] constexpr IntegerKernel with_tiles(IntegerKernel kernel) noexcept {
  constexpr bool in_place = avx512vnni::is_in_place<Codes>;
  constexpr Operand operand = in_place ? Operand::u8 : Operand::s8;
  kernel.name = KernelName::amx;
  kernel.row = row_tiles<!in_place>;
  kernel.group = group_tiles<!in_place>;
  kernel.decode = &avx512vnni::decode<Codes, operand>;
  kernel.weights = {.operand = operand,
                    .panels = 2,
                    .in_place = in_place,
                    .zero_points_apart = in_place,
                    .token_rows = true};
  kernel.row_sum = &avx512::sum;
  return kernel;
}

template <class Codes>
inline constexpr IntegerKernel integer_kernel =
    with_tiles<Codes>(avx512vnni::integer_kernel<Codes>);

}  // namespace pare::kernels::amx
