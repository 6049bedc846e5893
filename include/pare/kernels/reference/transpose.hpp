#pragma once

#include <cstdint>
#include <cstring>

#include "pare/core/index.hpp"

/// See transpose.hpp.
namespace pare::kernels::reference {

inline void transpose_words(const void* rows, Index stride_bytes, Index count, Index columns,
                            void* out) noexcept {
  const auto* in = static_cast<const char*>(rows);
  auto* next = static_cast<char*>(out);
  for (Index k = 0; k < columns; ++k)
    for (Index t = 0; t < count; ++t, next += 4)
      std::memcpy(next, in + t * stride_bytes + 4 * k, 4);
}

inline void transpose_bytes(const std::int8_t* rows, Index stride, Index count, Index columns,
                            std::int8_t* out) noexcept {
  for (Index k = 0; k < columns; ++k)
    for (Index t = 0; t < count; ++t) *out++ = rows[t * stride + k];
}

inline void gather_words(const void* rows, const std::int32_t* order, Index columns, Index count,
                         void* out) noexcept {
  const auto* in = static_cast<const char*>(rows);
  auto* next = static_cast<char*>(out);
  for (Index k = 0; k < columns; ++k) {
    const char* row = in + 4 * count * order[k];
    for (Index t = 0; t < count; ++t, next += 4) std::memcpy(next, row + 4 * t, 4);
  }
}

inline void gather_quads(const std::int8_t* rows, const std::int32_t* order, Index quads,
                         Index count, std::int8_t* out) noexcept {
  for (; quads > 0; --quads, order += 4)
    for (Index t = 0; t < count; ++t, out += 4)
      for (Index i = 0; i < 4; ++i) out[i] = rows[order[i] * count + t];
}

}  // namespace pare::kernels::reference
