#pragma once

#include <immintrin.h>

#include "pare/core/config.hpp"
#include "pare/kernels/layout/packed_layout.hpp"
#include "pare/kernels/x86/target.hpp"

namespace pare::kernels::avx512 {

/// The codes of k = 4 quad .. 4 quad + 3 of a unit, from plane P on.
template <class Codes, std::size_t P = 0>
PARE_TARGET_AVX512 PARE_FORCE_INLINE __m512i quad_codes(const std::uint32_t* unit,
                                                        int quad) noexcept {
  constexpr int width = Codes::planes[P].width, low_bit = Codes::planes[P].low_bit;
  constexpr int per_vector = 8 / width;
  const int shift = quad % per_vector * width - low_bit;
  __m512i bits =
      _mm512_loadu_si512(unit + (Codes::first_vector(P) + quad / per_vector) * panel_channels);
  if (shift > 0) bits = _mm512_srli_epi16(bits, static_cast<unsigned>(shift));
  if (shift < 0) bits = _mm512_slli_epi16(bits, static_cast<unsigned>(-shift));
  if constexpr (width < 8)
    bits =
        _mm512_and_si512(bits, _mm512_set1_epi8(static_cast<char>(((1 << width) - 1) << low_bit)));
  if constexpr (P + 1 < Codes::planes.size())
    bits = _mm512_or_si512(bits, quad_codes<Codes, P + 1>(unit, quad));
  return bits;
}

}  // namespace pare::kernels::avx512
