#include "harness/peak.hpp"

#include <algorithm>
#include <utility>

#include "harness/threads.hpp"
#include "harness/timing.hpp"
#include "pare/core/config.hpp"
#include "pare/core/index.hpp"
#include "pare/kernels/cpu.hpp"
#if PARE_X86_KERNELS
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace bench {
namespace {

using pare::Index;

/// A loop of `steps` times twelve independent chains: enough for latency 6 at two per cycle.
struct PeakLoop {
  void (*run)(Index steps) = nullptr;
  double operations_per_step = 0.0;
};

#if PARE_X86_KERNELS

/// Assembly, so that no compiler simplifies it: `%0` is a chain, `%1` and `%2` are inputs, register
/// 15 is free.
#define PARE_PEAK_LOOP(name, isa, Vector, code)                                           \
  __attribute__((target(isa))) void name(Index steps) {                                   \
    Vector a{}, b{}, chains[12]{};                                                        \
    for (Index i = 0; i < steps; ++i) {                                                   \
      PARE_UNROLL for (Vector & chain : chains) asm volatile(code : "+v"(chain) : "v"(a), \
                                                             "v"(b) : "xmm15");           \
    }                                                                                     \
  }

PARE_PEAK_LOOP(vnni, "avx512f", __m512i, "vpdpbusd %2, %1, %0")
PARE_PEAK_LOOP(avx_vnni, "avx2", __m256i, "%{vex%} vpdpbusd %2, %1, %0")
PARE_PEAK_LOOP(avx2_int8, "avx2", __m256i, "vpmaddwd %2, %1, %%ymm15\n\tvpaddd %%ymm15, %0, %0")
PARE_PEAK_LOOP(bf16, "avx512f", __m512, "vdpbf16ps %2, %1, %0")
PARE_PEAK_LOOP(float32_avx512, "avx512f", __m512, "vfmadd231ps %2, %1, %0")
PARE_PEAK_LOOP(float64_avx512, "avx512f", __m512d, "vfmadd231pd %2, %1, %0")
PARE_PEAK_LOOP(float32_avx2, "avx2,fma", __m256, "vfmadd231ps %2, %1, %0")
PARE_PEAK_LOOP(float64_avx2, "avx2,fma", __m256d, "vfmadd231pd %2, %1, %0")
#undef PARE_PEAK_LOOP

/// The four sums of two by two tiles, three times: as many steps as elsewhere have chains.
#define PARE_TILE_PEAK_LOOP(name, instruction)                                        \
  __attribute__((target("amx-tile"))) void name(Index steps) {                        \
    struct alignas(64) {                                                              \
      std::uint8_t palette = 1, reserved[15] = {};                                    \
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};                 \
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};                       \
    } shapes;                                                                         \
    asm volatile("ldtilecfg %0" : : "m"(shapes));                                     \
    for (Index i = 0; i < steps; i += 12)                                             \
      PARE_UNROLL for (int j = 0; j < 3; ++j) asm volatile(                           \
          instruction " %tmm6, %tmm4, %tmm0\n\t" instruction                          \
                      " %tmm7, %tmm4, %tmm1\n\t" instruction                          \
                      " %tmm6, %tmm5, %tmm2\n\t" instruction " %tmm7, %tmm5, %tmm3"); \
    _tile_release();                                                                  \
  }

PARE_TILE_PEAK_LOOP(amx_int8, "tdpbssd")
PARE_TILE_PEAK_LOOP(amx_bf16, "tdpbf16ps")
#undef PARE_TILE_PEAK_LOOP

/// Not known to clang 14's __builtin_cpu_supports.
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 &&
         (a >> 4 & 1) != 0;
}

PeakLoop peak_loop(Peak peak) {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f");
  switch (peak) {
    case Peak::amx_int8:
      if (pare::kernels::cpu_supports(pare::KernelName::amx)) return {amx_int8, 16.0 * 16 * 64 * 2};
      break;
    case Peak::amx_bf16:
      if (pare::kernels::cpu_supports(pare::KernelName::amx)) return {amx_bf16, 16.0 * 16 * 32 * 2};
      break;
    case Peak::vnni:
      if (avx512 && __builtin_cpu_supports("avx512vnni")) return {vnni, 12 * 128.0};
      break;
    case Peak::avx_vnni:
      if (has_avx_vnni()) return {avx_vnni, 12 * 64.0};
      break;
    case Peak::avx2_int8:
      if (avx2) return {avx2_int8, 12 * 32.0};
      break;
    case Peak::bf16:
      if (avx512 && __builtin_cpu_supports("avx512bf16")) return {bf16, 12 * 64.0};
      break;
    case Peak::float32:
      if (avx512) return {float32_avx512, 12 * 32.0};
      if (avx2) return {float32_avx2, 12 * 16.0};
      break;
    case Peak::float64:
      if (avx512) return {float64_avx512, 12 * 16.0};
      if (avx2) return {float64_avx2, 12 * 8.0};
      break;
    case Peak::none:
      break;
  }
  return {};
}

#else
PeakLoop peak_loop(Peak) { return {}; }
#endif

}  // namespace

std::string_view to_string(Peak peak) {
  switch (peak) {
    case Peak::amx_int8:
      return "AMX int8";
    case Peak::amx_bf16:
      return "AMX BF16";
    case Peak::vnni:
      return "VNNI";
    case Peak::avx_vnni:
      return "AVX-VNNI";
    case Peak::avx2_int8:
      return "AVX2 int8";
    case Peak::bf16:
      return "BF16";
    case Peak::float32:
      return "FP32";
    case Peak::float64:
      return "FP64";
    case Peak::none:
      break;
  }
  return "";
}

double measure_peak(Peak peak, int threads) {
  const PeakLoop loop = peak_loop(peak);
  if (!loop.run) return 0.0;
  // A quarter of a millisecond: long beside starting the threads, short beside a time slice.
  constexpr Index steps = 100'000;
  constexpr int loops = 6;
  const pare::ParallelFor run = parallel_for(threads);
  double best = 0.0;
  for (int i = 0; i < loops; ++i) {
    const double seconds = seconds_of([&] { run(threads, [&](Index) { loop.run(steps); }); });
    best =
        std::max(best, threads * static_cast<double>(steps) * loop.operations_per_step / seconds);
  }
  return best;
}

}  // namespace bench
