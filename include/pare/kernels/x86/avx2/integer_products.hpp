#pragma once

#include "pare/kernels/x86/avx2/integer_tiles.hpp"

/// Products without VNNI. Sixteen-bit pairs are exact for all codes; bytes are twice as fast where
/// their sums fit 16 bits. `Sums` are those of few tokens, whose weights come from registers.
namespace pare::kernels::avx2 {

/// Bytes 0, 2 of every lane as words, and bytes 1, 3.
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i even_bytes(__m256i bytes) noexcept {
  return _mm256_and_si256(bytes, _mm256_set1_epi16(255));
}
PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i odd_bytes(__m256i bytes) noexcept {
  return _mm256_srli_epi16(bytes, 8);
}

/// sum + x. g++ 12 would add terms to each other first, which needs more registers than there are.
PARE_TARGET_AVX2 PARE_FORCE_INLINE void add_words(__m256i& sum, __m256i x) noexcept {
  sum = _mm256_add_epi16(sum, x);
  asm("" : "+x"(sum));
}
PARE_TARGET_AVX2 PARE_FORCE_INLINE void add_lanes(__m256i& sum, __m256i x) noexcept {
  sum = _mm256_add_epi32(sum, x);
  asm("" : "+x"(sum));
}

/// vpmaddwd on words.
struct WordProducts {
  static constexpr Operand operand = Operand::s16;
  template <class Codes>
  static constexpr TileWeights weights{operand, 1, false, false};

  template <int Tokens>
  PARE_TARGET_AVX2 PARE_FORCE_INLINE static void add_quads(Streams& in, Index quads,
                                                           __m256i (&sums)[Tokens][2]) noexcept {
    for (; quads > 0; --quads, in.weights += 128, in.codes += 8 * Tokens) {
      in.prefetch();
      PARE_UNROLL
      for (int pair = 0; pair < 2; ++pair) {
        const __m256i w0 = load(in.weights + 64 * pair), w1 = load(in.weights + 64 * pair + 32);
        PARE_UNROLL
        for (int t = 0; t < Tokens; ++t) {
          const __m256i x = broadcast_lane(in.codes + 8 * t + 4 * pair);
          add_lanes(sums[t][0], _mm256_madd_epi16(w0, x));
          add_lanes(sums[t][1], _mm256_madd_epi16(w1, x));
        }
      }
    }
  }

  PARE_TARGET_AVX2 static void sum_quads(const std::int8_t* codes, Index quads, Index tokens,
                                         std::int32_t* sums) noexcept {
    const __m128i ones = _mm_set1_epi16(1);
    for (Index t = 0; t < tokens; ++t) {
      __m128i sum = _mm_setzero_si128();
      for (Index q = 0; q < quads; ++q) {
        const auto* four = reinterpret_cast<const __m128i*>(codes + 8 * (q * tokens + t));
        sum = _mm_add_epi32(sum, _mm_madd_epi16(_mm_loadl_epi64(four), ones));
      }
      sums[t] = _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum));
    }
  }

  template <int Tokens>
  struct Sums {
    __m256i sums[Tokens][2];

    PARE_TARGET_AVX2 PARE_FORCE_INLINE void start(int t, int half, __m256i value) noexcept {
      sums[t][half] = value;
    }
    PARE_TARGET_AVX2 PARE_FORCE_INLINE void add(int half, int, __m256i bytes,
                                                const std::int8_t* codes) noexcept {
      const __m256i even = even_bytes(bytes), odd = odd_bytes(bytes);
      PARE_UNROLL
      for (int t = 0; t < Tokens; ++t) {
        const __m256i pairs = _mm256_madd_epi16(even, broadcast_lane(codes + 8 * t));
        const __m256i others = _mm256_madd_epi16(odd, broadcast_lane(codes + 8 * t + 4));
        sums[t][half] = _mm256_add_epi32(sums[t][half], _mm256_add_epi32(pairs, others));
      }
    }
    PARE_TARGET_AVX2 PARE_FORCE_INLINE void end_block() noexcept {}
    PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i total(int t, int half) const noexcept {
      return sums[t][half];
    }
  };
};

/// vpmaddubsw on codes of at most four bits: eight sums of two products are at most
/// 8 * 2 * 15 * 128 and fit 16 bits.
struct ByteProducts {
  static constexpr Operand operand = Operand::u8;
  static constexpr Index block_quads = 8;
  template <class Codes>
  static constexpr TileWeights weights{operand, 1, false, true};

  template <int Tokens>
  PARE_TARGET_AVX2 PARE_FORCE_INLINE static void add_quads(Streams& in, Index quads,
                                                           __m256i (&sums)[Tokens][2]) noexcept {
    const __m256i ones = _mm256_set1_epi16(1);
    while (quads > 0) {
      __m256i words[Tokens][2];
      PARE_UNROLL
      for (int i = 0; i < 2 * Tokens; ++i) words[i / 2][i % 2] = _mm256_setzero_si256();
      const Index block = quads < block_quads ? quads : block_quads;
      quads -= block;
      for (Index q = 0; q < block; ++q, in.weights += 64, in.codes += 4 * Tokens) {
        const __m256i w0 = load(in.weights), w1 = load(in.weights + 32);
        in.prefetch();
        PARE_UNROLL
        for (int t = 0; t < Tokens; ++t) {
          const __m256i x = broadcast_lane(in.codes + 4 * t);
          add_words(words[t][0], _mm256_maddubs_epi16(w0, x));
          add_words(words[t][1], _mm256_maddubs_epi16(w1, x));
        }
      }
      PARE_UNROLL
      for (int i = 0; i < 2 * Tokens; ++i)
        sums[i / 2][i % 2] =
            _mm256_add_epi32(sums[i / 2][i % 2], _mm256_madd_epi16(words[i / 2][i % 2], ones));
    }
  }

  /// At most 8 tokens.
  PARE_TARGET_AVX2 static void sum_quads(const std::int8_t* codes, Index quads, Index tokens,
                                         std::int32_t* sums) noexcept {
    const __m256i mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<std::int32_t>(tokens)),
                                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    __m256i sum = _mm256_setzero_si256();
    for (; quads > 0; --quads, codes += 4 * tokens) {
      const __m256i fours = _mm256_maskload_epi32(reinterpret_cast<const int*>(codes), mask);
      const __m256i twos = _mm256_maddubs_epi16(_mm256_set1_epi8(1), fours);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(twos, _mm256_set1_epi16(1)));
    }
    _mm256_maskstore_epi32(sums, mask, sum);
  }

  template <int Tokens>
  struct Sums {
    __m256i sums[Tokens][2];
    __m256i words[Tokens][2];

    PARE_TARGET_AVX2 PARE_FORCE_INLINE void start(int t, int half, __m256i value) noexcept {
      sums[t][half] = value;
      words[t][half] = _mm256_setzero_si256();
    }
    PARE_TARGET_AVX2 PARE_FORCE_INLINE void add(int half, int, __m256i bytes,
                                                const std::int8_t* codes) noexcept {
      PARE_UNROLL
      for (int t = 0; t < Tokens; ++t)
        words[t][half] = _mm256_add_epi16(
            words[t][half], _mm256_maddubs_epi16(bytes, broadcast_lane(codes + 4 * t)));
    }
    PARE_TARGET_AVX2 PARE_FORCE_INLINE void end_block() noexcept {
      PARE_UNROLL
      for (int i = 0; i < 2 * Tokens; ++i) {
        __m256i& pairs = words[i / 2][i % 2];
        sums[i / 2][i % 2] =
            _mm256_add_epi32(sums[i / 2][i % 2], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        pairs = _mm256_setzero_si256();
      }
    }
    PARE_TARGET_AVX2 PARE_FORCE_INLINE __m256i total(int t, int half) const noexcept {
      return sums[t][half];
    }
  };
};

}  // namespace pare::kernels::avx2
