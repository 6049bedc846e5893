#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace training {

namespace detail {

/// What a byte does to the remainder, for the reflected polynomial of Castagnoli.
inline constexpr auto crc32c_of_byte = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = rest >> 1 ^ (rest & 1 ? 0x82f63b78u : 0u);
    table[byte] = rest;
  }
  return table;
}();

}  // namespace detail

/// Source: RFC 3720, appendix B.4.
[[nodiscard]] constexpr std::uint32_t crc32c(std::string_view bytes) noexcept {
  std::uint32_t rest = ~std::uint32_t{0};
  for (const char byte : bytes)
    rest = rest >> 8 ^ detail::crc32c_of_byte[(rest ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~rest;
}

/// Turned and shifted, so that a checksum of bytes that hold checksums stays useful.
/// Source: TFRecord, https://www.tensorflow.org/tutorials/load_data/tfrecord
[[nodiscard]] constexpr std::uint32_t masked_crc32c(std::string_view bytes) noexcept {
  const std::uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

}  // namespace training
