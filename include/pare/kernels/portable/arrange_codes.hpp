#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "pare/core/config.hpp"
#include "pare/kernels/contract/arrange_codes.hpp"

/// Codes in and out of units, in portable C++. Words of four consecutive codes, the first in the
/// lowest byte, are the intermediate form: quads [k / 4][16]. Loops over the lanes have a constant
/// length: compilers vectorize them.
namespace pare::kernels {

namespace detail {

/// The part of every code that lies in plane P.
template <class Codes, std::size_t P>
void store_plane(const std::uint32_t* quads, std::uint32_t* unit) noexcept {
  constexpr Plane plane = Codes::planes[P];
  constexpr std::uint32_t mask = 0x01010101u * ((1u << plane.width) - 1u);
  constexpr Index vectors = Codes::unit / plane.vector_columns(), parts = 8 / plane.width;
  for (Index v = 0; v < vectors; ++v) {
    std::uint32_t words[panel_channels] = {};
    for (Index part = 0; part < parts; ++part) {
      const std::uint32_t* quad = quads + (v * parts + part) * panel_channels;
      for (Index lane = 0; lane < panel_channels; ++lane)
        words[lane] |= (quad[lane] >> plane.low_bit & mask) << part * plane.width;
    }
    std::memcpy(unit + (Codes::first_vector(P) + v) * panel_channels, words, sizeof(words));
  }
}

template <class Codes, std::size_t P>
void load_plane(const std::uint32_t* unit, std::uint32_t* quads) noexcept {
  constexpr Plane plane = Codes::planes[P];
  constexpr std::uint32_t mask = 0x01010101u * ((1u << plane.width) - 1u);
  constexpr Index vectors = Codes::unit / plane.vector_columns(), parts = 8 / plane.width;
  for (Index v = 0; v < vectors; ++v) {
    std::uint32_t words[panel_channels];
    std::memcpy(words, unit + (Codes::first_vector(P) + v) * panel_channels, sizeof(words));
    for (Index part = 0; part < parts; ++part) {
      std::uint32_t* quad = quads + (v * parts + part) * panel_channels;
      for (Index lane = 0; lane < panel_channels; ++lane)
        quad[lane] |= (words[lane] >> part * plane.width & mask) << plane.low_bit;
    }
  }
}

/// Adds `offset` to each byte of sixteen words.
inline void add_to_bytes(std::uint32_t* words, std::uint8_t offset) noexcept {
  std::uint8_t bytes[4 * panel_channels];
  std::memcpy(bytes, words, sizeof(bytes));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(byte + offset);
  std::memcpy(words, bytes, sizeof(bytes));
}

/// Adds sixteen words of stored codes to the sums.
template <Format F>
void add_to_sums(const std::uint32_t* stored, LaneSums& sums) noexcept {
  if constexpr (code_count<F>() < 256) {
    std::uint8_t bytes[4 * panel_channels];
    std::memcpy(bytes, stored, sizeof(bytes));
    for (std::size_t i = 0; i < sizeof(bytes); ++i)
      sums.largest[i] = std::max(sums.largest[i], bytes[i]);
  }
  const auto add_pairs = [&](const std::uint32_t* operands) {
    for (Index lane = 0; lane < panel_channels; ++lane)
      sums.operands[lane] += (operands[lane] & 0x00ff00ffu) + (operands[lane] >> 8 & 0x00ff00ffu);
  };
  if constexpr (F::is_integer) {
    add_pairs(stored);
  } else {
    std::uint8_t operands[4 * panel_channels];
    std::memcpy(operands, stored, sizeof(operands));
    for (std::uint8_t& operand : operands) operand = sum_operands<F>[operand & 15u];
    std::uint32_t words[panel_channels];
    std::memcpy(words, operands, sizeof(words));
    add_pairs(words);
  }
}

}  // namespace detail

/// Writes a unit: store_code for all of its codes at once.
template <class Codes>
void store_unit(const std::uint32_t* quads, std::uint32_t* unit) noexcept {
  [&]<std::size_t... P>(std::index_sequence<P...>) {
    (detail::store_plane<Codes, P>(quads, unit), ...);
  }
  (std::make_index_sequence<Codes::planes.size()>{});
}

/// Reads a unit: load_code for all of its codes at once.
template <class Codes>
void load_unit(const std::uint32_t* unit, std::uint32_t* quads) noexcept {
  std::memset(quads, 0, Codes::unit / 4 * panel_channels * sizeof(std::uint32_t));
  [&]<std::size_t... P>(std::index_sequence<P...>) {
    (detail::load_plane<Codes, P>(unit, quads), ...);
  }
  (std::make_index_sequence<Codes::planes.size()>{});
}

/// See ArrangeCodes.
template <Format F>
void arrange_codes(const CodeRows& rows, Index count, LaneSums& sums,
                   std::uint32_t* unit) noexcept {
  using Codes = packed_codes<F>;
  constexpr Index block = 32;
  std::uint32_t quads[arranged_columns / 4 * panel_channels];
  if (rows.lanes < panel_channels) std::memset(quads, padding_code<F>, sizeof(quads));
  const Index padded = round_up(count, block);
  for (Index lane = 0; lane < rows.lanes; ++lane) {
    const std::uint8_t* codes = rows.first + lane * rows.stride;
    std::uint8_t copy[arranged_columns];
    if (padded > count) {
      std::memset(copy, padding_code<F>, sizeof(copy));
      std::memcpy(copy, codes, static_cast<std::size_t>(count));
      codes = copy;
    }
    for (Index k = 0; k < padded; k += block) {
      PARE_UNROLL
      for (Index i = 0; i < block; i += 4)
        std::memcpy(quads + (k + i) / 4 * panel_channels + lane, codes + k + i, 4);
    }
  }
  for (Index k = 0; k < count; k += Codes::unit, unit += Codes::unit_words) {
    std::uint32_t* const first = quads + k / 4 * panel_channels;
    for (Index i = 0; i < Codes::unit / 4; ++i) {
      detail::add_to_bytes(first + i * panel_channels, static_cast<std::uint8_t>(F::code_offset));
      detail::add_to_sums<F>(first + i * panel_channels, sums);
    }
    store_unit<Codes>(first, unit);
  }
}

/// The reverse: writes `count` codes of each lane, at most arranged_columns, and what is left of
/// the last unit, to rows of arranged_columns.
template <Format F>
void restore_codes(const std::uint32_t* unit, Index count, std::uint8_t* rows) noexcept {
  using Codes = packed_codes<F>;
  for (Index k = 0; k < count; k += Codes::unit, unit += Codes::unit_words) {
    std::uint32_t quads[Codes::unit / 4 * panel_channels];
    load_unit<Codes>(unit, quads);
    for (Index i = 0; i < Codes::unit / 4; ++i)
      detail::add_to_bytes(quads + i * panel_channels, padding_code<F>);
    for (Index lane = 0; lane < panel_channels; ++lane) {
      PARE_UNROLL
      for (Index i = 0; i < Codes::unit / 4; ++i)
        std::memcpy(rows + lane * arranged_columns + k + i * 4, quads + i * panel_channels + lane,
                    4);
    }
  }
}

}  // namespace pare::kernels
