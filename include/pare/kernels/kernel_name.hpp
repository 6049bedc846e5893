#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "pare/core/error.hpp"

namespace pare {

/// The implementations a kernel may have, from the plainest to the most special.
enum class KernelName : std::uint8_t {
  automatic,
  reference,
  portable,
  neon,  ///< with dot products
  avx2,
  avxvnni,
  avx512,
  avx512vnni,
  avx512bf16,
  avx512vbmi,
  amx
};

inline constexpr std::array<std::string_view, 11> kernel_names{
    "automatic", "reference",  "portable",   "neon",       "avx2", "avxvnni",
    "avx512",    "avx512vnni", "avx512bf16", "avx512vbmi", "amx"};

[[nodiscard]] constexpr std::string_view to_string(KernelName name) noexcept {
  return kernel_names[static_cast<std::size_t>(name)];
}

/// Throws ArgumentError listing the names when `text` is none of them.
[[nodiscard]] inline KernelName parse_kernel_name(std::string_view text) {
  std::string all;
  for (std::size_t i = 0; i < kernel_names.size(); ++i) {
    if (kernel_names[i] == text) return static_cast<KernelName>(i);
    all += (i ? ", " : "") + std::string(kernel_names[i]);
  }
  throw ArgumentError("no kernel is named \"" + std::string(text) + "\"; there are " + all);
}

}  // namespace pare
