#pragma once

#include "pare/core/config.hpp"
#include "pare/kernels/reference/transpose.hpp"
#if PARE_X86_KERNELS
#include "pare/kernels/x86/transpose.hpp"
#endif

/// From rows of tokens to rows of columns: what arranges the activations of a tile.
namespace pare::kernels {

namespace detail {
#if PARE_X86_KERNELS
namespace transposing = sse2;
#else
namespace transposing = reference;
#endif
}  // namespace detail

/// gather_quads reads so many bytes beyond its rows, unless they are of one token.
inline constexpr Index quad_slack_bytes = 16;

/// Most tokens that bytes are transposed of.
inline constexpr Index max_transposed_tokens = 16;

/// out[k][t] = rows[t][k], words of 4 bytes.
inline void transpose_words(const void* rows, Index stride_bytes, Index count, Index columns,
                            void* out) noexcept {
  detail::transposing::transpose_words(rows, stride_bytes, count, columns, out);
}

/// The same with bytes; at most max_transposed_tokens.
inline void transpose_bytes(const std::int8_t* rows, Index stride, Index count, Index columns,
                            std::int8_t* out) noexcept {
  detail::transposing::transpose_bytes(rows, stride, count, columns, out);
}

/// out[k] = rows[order[k]], rows of `count` words.
inline void gather_words(const void* rows, const std::int32_t* order, Index columns, Index count,
                         void* out) noexcept {
  detail::transposing::gather_words(rows, order, columns, count, out);
}

/// out[q][t][i] = rows[order[4 q + i]][t], rows of `count` bytes; at most
/// max_transposed_tokens.
inline void gather_quads(const std::int8_t* rows, const std::int32_t* order, Index quads,
                         Index count, std::int8_t* out) noexcept {
  detail::transposing::gather_quads(rows, order, quads, count, out);
}

}  // namespace pare::kernels
