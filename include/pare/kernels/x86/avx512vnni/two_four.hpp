#pragma once

#include "pare/kernels/layout/two_four.hpp"
#include "pare/kernels/x86/avx512vnni/integer.hpp"

namespace pare::kernels::avx512 {

namespace two_four {

/// Controls of a byte shuffle that spreads two codes over four: where byte j gets which of the
/// two, or zero. For all indices of two codes; those of equal ones do not occur.
inline constexpr auto controls = [] {
  std::array<std::uint32_t, 16> table{};
  for (unsigned indices = 0; indices < 16; ++indices) {
    table[indices] = 0x80808080u;
    for (unsigned i = 0; i < 2; ++i) {
      const unsigned byte = indices >> 2 * i & 3u;
      table[indices] = (table[indices] & ~(0xffu << 8 * byte)) | i << 8 * byte;
    }
  }
  return table;
}();

/// Where the first two, or last two, codes of a lane lie in a quarter of a vector.
PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i lane_offsets(int half) noexcept {
  return _mm512_maskz_broadcast_i32x4(
      all, half == 0 ? _mm_setr_epi32(0x00000000, 0x04040404, 0x08080808, 0x0c0c0c0c)
                     : _mm_setr_epi32(0x02020202, 0x06060606, 0x0a0a0a0a, 0x0e0e0e0e));
}

}  // namespace two_four

/// Kept codes spread out, zeros between them.
template <>
PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i quad_codes<TwoFourCodes, 0>(const std::uint32_t* unit,
                                                                         int quad) noexcept {
  const __m512i indices = _mm512_maskz_srli_epi32(
      all, _mm512_loadu_si512(unit + TwoFourCodes::index_word), static_cast<unsigned>(4 * quad));
  const __m512i control = _mm512_or_si512(
      _mm512_maskz_permutexvar_epi32(all, indices, _mm512_loadu_si512(two_four::controls.data())),
      two_four::lane_offsets(quad % 2));
  const __m512i kept = _mm512_loadu_si512(unit + quad / 2 * panel_channels);
  return _mm512_xor_si512(_mm512_shuffle_epi8(kept, control), _mm512_set1_epi8(-128));
}

}  // namespace pare::kernels::avx512

namespace pare::kernels::avx512vnni {

inline constexpr IntegerKernel two_four_kernel{
    KernelName::avx512vnni,
    &sum_quads,
    {{nullptr, &few<TwoFourCodes, 1>, &few<TwoFourCodes, 2>, &few<TwoFourCodes, 3>,
      &few<TwoFourCodes, 4>, &few<TwoFourCodes, 5>, &few<TwoFourCodes, 6>, &few<TwoFourCodes, 7>,
      &few<TwoFourCodes, 8>}},
    row_tiles,
    group_tiles,
    &decode<TwoFourCodes>,
    {Operand::u8, 2, false, false}};

}  // namespace pare::kernels::avx512vnni
