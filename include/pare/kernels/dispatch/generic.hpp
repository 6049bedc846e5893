#pragma once

#include <cstdint>

#include "pare/core/config.hpp"
#include "pare/kernels/contract/float.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/kernels/portable/arrange_codes.hpp"
#include "pare/kernels/portable/float.hpp"
#include "pare/kernels/reference/float.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/avx2/float_tiles.hpp"
#include "pare/kernels/x86/avx512/float_tiles.hpp"
#endif

/// The float matmul of formats that no table decodes: F::decode gives the weights of a panel one by
/// one, the tiles are those of all formats.
namespace pare::kernels {

/// See FloatKernel::Decode. Numbers that are no codes, as a damaged file may hold, count as 0.
template <Format F>
void decode_one_by_one(const PackedPanel& w, Index first_unit, Index units,
                       float* values) noexcept {
  using Codes = packed_codes<F>;
  typename F::Parameters parameters[panel_channels];
  Index parameters_of = -1;
  for (Index u = first_unit; u < first_unit + units; ++u) {
    const Index group = u / w.group_units;
    if (group != parameters_of)
      for (Index lane = 0; lane < panel_channels; ++lane)
        parameters[lane] = load_parameters<F>(w, group, lane);
    parameters_of = group;
    std::uint32_t quads[Codes::unit / 4 * panel_channels];
    load_unit<Codes>(w.codes + u * Codes::unit_words, quads);
    for (Index k = 0; k < Codes::unit; ++k, values += 2 * panel_channels)
      for (Index lane = 0; lane < panel_channels; ++lane) {
        const std::uint32_t number = quads[k / 4 * panel_channels + lane] >> k % 4 * 8 & 0xffu;
        const std::uint32_t code = static_cast<int>(number) < code_count<F>() ? number : 0;
        values[lane] = F::decode(from_stored<F>(static_cast<std::uint8_t>(code)), parameters[lane]);
      }
  }
}

template <Format F>
inline constexpr FloatKernel generic_reference_kernel{
    KernelName::reference, {}, {{nullptr, &reference::float_tile}}, &decode_one_by_one<F>};
#if PARE_X86_KERNELS
namespace detail {

/// Other kernels have functions of their own for few tokens.
inline constexpr TileTable<FloatKernel::Tile> avx2_tiles = [] {
  TileTable<FloatKernel::Tile> table = avx2::float_tiles;
  table.tiles[2] = &avx2::float_tile<2>;
  return table;
}();
inline constexpr TileTable<FloatKernel::Tile> avx512_tiles = [] {
  TileTable<FloatKernel::Tile> table = avx512::float_tiles;
  table.tiles[2] = &avx512::float_tile<2>;
  table.tiles[4] = &avx512::float_tile<4>;
  return table;
}();

}  // namespace detail

template <Format F>
inline constexpr FloatKernel generic_avx2_kernel{
    KernelName::avx2, {}, detail::avx2_tiles, &decode_one_by_one<F>};
template <Format F>
inline constexpr FloatKernel generic_avx512_kernel{
    KernelName::avx512, {}, detail::avx512_tiles, &decode_one_by_one<F>};
#endif

namespace portable {
inline namespace PARE_PORTABLE_NAMESPACE {
template <Format F>
inline constexpr FloatKernel generic_kernel{
    KernelName::portable, {}, float_tiles, &decode_one_by_one<F>};
}
}  // namespace portable

/// Throws ArgumentError as select_kernel does.
template <Format F>
[[nodiscard]] const FloatKernel& generic_float_kernel(KernelName force) {
#if PARE_X86_KERNELS
  switch (select_kernel(
      force, {KernelName::avx512, KernelName::avx2, KernelName::portable, KernelName::reference})) {
    case KernelName::avx512:
      return generic_avx512_kernel<F>;
    case KernelName::avx2:
      return generic_avx2_kernel<F>;
#else
  switch (select_kernel(force, {KernelName::portable, KernelName::reference})) {
#endif
    case KernelName::portable:
      return portable::generic_kernel<F>;
    default:
      return generic_reference_kernel<F>;
  }
}

}  // namespace pare::kernels
