#pragma once

#include "pare/kernels/x86/avx2/integer_tiles.hpp"

/// vpdpbusd in its encoding for CPUs without AVX-512.
namespace pare::kernels::avxvnni {

/// Assembly: the intrinsic would need a target of its own, and g++ 12 spills sums around it.
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i dot(__m256i sum, __m256i weights,
                                               __m256i activations) noexcept {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(weights), "x"(activations));
  return sum;
}

struct DotProducts {
  static constexpr Operand operand = Operand::u8;
  template <class Codes>
  static constexpr TileWeights weights{operand, 1, Codes::bits == 8, Codes::bits == 8};

  template <int Tokens>
  PARE_TARGET_AVX2 PARE_FORCE_INLINE static void add_quads(avx2::Streams& in, Index quads,
                                                           __m256i (&sums)[Tokens][2]) noexcept {
    // Units have at least two quads.
    for (; quads > 0; quads -= 2) {
      in.prefetch();
      PARE_UNROLL
      for (int q = 0; q < 2; ++q, in.weights += 64, in.codes += 4 * Tokens) {
        const __m256i w0 = avx2::load(in.weights), w1 = avx2::load(in.weights + 32);
        PARE_UNROLL
        for (int t = 0; t < Tokens; ++t) {
          const __m256i x = avx2::broadcast_lane(in.codes + 4 * t);
          sums[t][0] = dot(sums[t][0], w0, x);
          sums[t][1] = dot(sums[t][1], w1, x);
        }
      }
      in.prefetch();
    }
  }

  /// A dot product with ones; at most 8 tokens.
  PARE_TARGET_AVX2 static void sum_quads(const std::int8_t* codes, Index quads, Index tokens,
                                         std::int32_t* sums) noexcept {
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<std::int32_t>(tokens)),
                                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256i ones = _mm256_set1_epi8(1);
    __m256i sum = _mm256_setzero_si256();
    for (; quads > 0; --quads, codes += 4 * tokens)
      sum = dot(sum, ones, _mm256_maskload_epi32(reinterpret_cast<const int*>(codes), mask));
    _mm256_maskstore_epi32(sums, mask, sum);
  }

  /// Independent sums cover the latency of the dot product where tokens alone do not.
  template <int Tokens>
  struct Sums {
    static constexpr int chains = Tokens == 1 ? 4 : Tokens == 2 ? 2 : 1;
    __m256i sums[Tokens][2][chains];

    PARE_TARGET_AVX2 PARE_FORCE_INLINE void start(int t, int half, __m256i value) noexcept {
      sums[t][half][0] = value;
      PARE_UNROLL
      for (int c = 1; c < chains; ++c) sums[t][half][c] = _mm256_setzero_si256();
    }
    PARE_TARGET_AVX2 PARE_FORCE_INLINE void add(int half, int quad, __m256i bytes,
                                                const std::int8_t* codes) noexcept {
      PARE_UNROLL
      for (int t = 0; t < Tokens; ++t) {
        __m256i& sum = sums[t][half][quad % chains];
        sum = dot(sum, bytes, avx2::broadcast_lane(codes + 4 * t));
      }
    }
    PARE_TARGET_AVX2 PARE_FORCE_INLINE void end_block() noexcept {}
    PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i total(int t, int half) const noexcept {
      __m256i sum = sums[t][half][0];
      PARE_UNROLL
      for (int c = 1; c < chains; ++c) sum = _mm256_add_epi32(sum, sums[t][half][c]);
      return sum;
    }
  };
};

}  // namespace pare::kernels::avxvnni
