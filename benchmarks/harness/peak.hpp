#pragma once

#include <string_view>

namespace bench {

/// The arithmetic that bounds a kernel.
enum class Peak {
  none,
  amx_int8,   ///< tdpbssd
  amx_bf16,   ///< tdpbf16ps
  vnni,       ///< vpdpbusd, 512 bits
  avx_vnni,   ///< vpdpbusd, 256 bits, VEX encoding
  avx2_int8,  ///< vpmaddwd + vpaddd, 256 bits
  bf16,       ///< vdpbf16ps, 512 bits
  float32,    ///< fused multiply-add, the widest of this CPU
  float64,    ///< likewise
};

[[nodiscard]] std::string_view to_string(Peak peak);

/// AMX: its speed changes several times over by the second, with what the neighbours do.
[[nodiscard]] constexpr bool is_tiled(Peak peak) {
  return peak == Peak::amx_int8 || peak == Peak::amx_bf16;
}

/// Operations (multiplications and additions) per second that `threads` threads reach in loops of
/// nothing else: the maximum of several short ones. 0 where the CPU lacks the instruction.
[[nodiscard]] double measure_peak(Peak peak, int threads);

}  // namespace bench
