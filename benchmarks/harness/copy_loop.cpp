#include "harness/copy_loop.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "harness/threads.hpp"
#include "pare/core/config.hpp"
#if PARE_X86_KERNELS
#include <immintrin.h>
#endif

namespace bench {
namespace {

using pare::Index;

constexpr Index line = 64;
/// Steps handed to a thread at a time.
constexpr Index chunk = 512;

/// Steps [begin, end) of a loop.
using CopySteps = void (*)(const CopyLoop& loop, Index begin, Index end);

#if PARE_X86_KERNELS
#define PARE_COPY_STEPS(name, isa, Vector, load, combine, store, stream)                 \
  __attribute__((target(isa))) void name(const CopyLoop& loop, Index begin, Index end) { \
    constexpr Index step = sizeof(Vector);                                               \
    const Index read = loop.lines_read * line, written = loop.lines_written * line;      \
    const auto* from = static_cast<const std::byte*>(loop.from);                         \
    auto* to = static_cast<std::byte*>(loop.to);                                         \
    for (Index i = begin; i < end; ++i) {                                                \
      Vector all{};                                                                      \
      for (Index b = 0; b < read; b += step)                                             \
        all = combine(all, load(reinterpret_cast<const Vector*>(from + i * read + b)));  \
      asm volatile("" : "+v"(all));                                                      \
      for (Index b = 0; b < written; b += step) {                                        \
        auto* place = reinterpret_cast<Vector*>(to + i * written + b);                   \
        loop.streaming ? stream(place, all) : store(place, all);                         \
      }                                                                                  \
    }                                                                                    \
    _mm_sfence();                                                                        \
  }

PARE_COPY_STEPS(copy_avx512, "avx512f", __m512i, _mm512_loadu_si512, _mm512_or_si512,
                _mm512_storeu_si512, _mm512_stream_si512)
PARE_COPY_STEPS(copy_avx2, "avx2", __m256i, _mm256_loadu_si256, _mm256_or_si256,
                _mm256_storeu_si256, _mm256_stream_si256)
#undef PARE_COPY_STEPS
#endif

/// Ordinary stores only.
void copy_words(const CopyLoop& loop, Index begin, Index end) {
  const Index read = loop.lines_read * line, written = loop.lines_written * line;
  for (Index i = begin; i < end; ++i) {
    std::uint64_t all = 0;
    for (Index b = 0; b < read; b += 8) {
      std::uint64_t word;
      std::memcpy(&word, static_cast<const std::byte*>(loop.from) + i * read + b, sizeof word);
      all |= word;
    }
    for (Index b = 0; b < written; b += 8)
      std::memcpy(static_cast<std::byte*>(loop.to) + i * written + b, &all, sizeof all);
  }
}

CopySteps copy_steps() {
#if PARE_X86_KERNELS
  if (__builtin_cpu_supports("avx512f")) return copy_avx512;
  if (__builtin_cpu_supports("avx2")) return copy_avx2;
#endif
  return copy_words;
}

}  // namespace

void run(const CopyLoop& loop, int threads) {
  static const CopySteps copy = copy_steps();
  parallel_for(threads)(pare::ceil_div(loop.steps, chunk), [&](Index i) {
    copy(loop, i * chunk, std::min(loop.steps, (i + 1) * chunk));
  });
}

}  // namespace bench
