#include "harness/read_bandwidth.hpp"

#include <algorithm>
#include <cstdint>

#include "harness/threads.hpp"
#include "pare/core/config.hpp"
#if PARE_X86_KERNELS
#include <immintrin.h>
#endif

namespace bench {
namespace {

using pare::Index;

constexpr Index line = 64;
/// Ahead of the page at hand, which the hardware looks after itself.
constexpr Index prefetch_bytes = 4096;

/// Shares per thread: more than one, so that an interrupted thread is helped out.
constexpr Index shares_per_thread = 8;

/// Streams of `lines` cache lines each, one behind the other in memory, read in step.
using ReadLines = void (*)(const std::byte* from, Index lines, int streams, Index prefetch);

#if PARE_X86_KERNELS
#define PARE_READ_LINES(name, isa, Vector, load, combine)                                          \
  template <int Streams>                                                                           \
  __attribute__((target(isa))) void name##_streams(const std::byte* from, Index lines,             \
                                                   Index prefetch) {                               \
    constexpr Index step = sizeof(Vector);                                                         \
    Vector all{};                                                                                  \
    for (Index i = 0; i < lines * line; i += line) PARE_UNROLL for (int s = 0; s < Streams; ++s) { \
        const std::byte* at = from + s * lines * line + i;                                         \
        if (prefetch) _mm_prefetch(reinterpret_cast<const char*>(at + prefetch), _MM_HINT_T0);     \
        PARE_UNROLL for (Index b = 0; b < line; b += step) all =                                   \
            combine(all, load(reinterpret_cast<const Vector*>(at + b)));                           \
      }                                                                                            \
    asm volatile("" ::"v"(all));                                                                   \
  }                                                                                                \
  void name(const std::byte* from, Index lines, int streams, Index prefetch) {                     \
    streams == 1 ? name##_streams<1>(from, lines, prefetch)                                        \
                 : name##_streams<2>(from, lines, prefetch);                                       \
  }

PARE_READ_LINES(read_avx512, "avx512f", __m512i, _mm512_loadu_si512, _mm512_or_si512)
PARE_READ_LINES(read_avx2, "avx2", __m256i, _mm256_loadu_si256, _mm256_or_si256)
#undef PARE_READ_LINES
#endif

void read_words(const std::byte* from, Index lines, int streams, Index) {
  const auto* words = reinterpret_cast<const volatile std::uint64_t*>(from);
  for (Index i = 0; i < streams * lines * line / 8; ++i) static_cast<void>(words[i]);
}

ReadLines read_lines() {
#if PARE_X86_KERNELS
  if (__builtin_cpu_supports("avx512f")) return read_avx512;
  if (__builtin_cpu_supports("avx2")) return read_avx2;
#endif
  return read_words;
}

}  // namespace

Index total_bytes(std::span<const Bytes> buffers) {
  Index sum = 0;
  for (const Bytes& b : buffers) sum += static_cast<Index>(b.size());
  return sum;
}

void read_all(std::span<const Bytes> buffers, int threads, ReadPlan plan) {
  static const ReadLines read = read_lines();
  const Index shares = threads == 1 ? 1 : threads * shares_per_thread;
  parallel_for(threads)(shares, [&](Index share) {
    for (const Bytes& buffer : buffers) {
      // What does not fill a line in every stream is left out: less than 1 KiB.
      const Index lines = static_cast<Index>(buffer.size()) / (line * plan.streams);
      const Index begin = lines * share / shares, end = lines * (share + 1) / shares;
      read(buffer.data() + begin * line * plan.streams, end - begin, plan.streams,
           plan.prefetch ? prefetch_bytes : 0);
    }
  });
}

}  // namespace bench
