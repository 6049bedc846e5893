#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace pare {

/// The 64-bit hash XXH64 with seed 0, of bytes that come in pieces: finds damage, not malice.
///
///     Xxh64 hash;
///     hash.add(first), hash.add(second);  // whole stripes of 32 bytes
///     hash.finish(rest)
///
/// Source    Y. Collet, "xxHash fast digest algorithm", specification version 0.1.1, XXH64
class Xxh64 {
 public:
  static constexpr std::size_t stripe_bytes = 32;

  /// Takes a multiple of stripe_bytes.
  void add(std::span<const std::byte> stripes) noexcept {
    std::array<std::uint64_t, 4> lanes = lanes_;
    for (std::size_t at = 0; at < stripes.size(); at += stripe_bytes)
      for (std::size_t i = 0; i < 4; ++i)
        lanes[i] = round(lanes[i], word<std::uint64_t>(stripes.data() + at + 8 * i));
    lanes_ = lanes;
    size_bytes_ += stripes.size();
  }

  /// The hash of all that was added and of any last bytes.
  [[nodiscard]] std::uint64_t finish(std::span<const std::byte> last = {}) noexcept {
    const std::size_t whole = last.size() / stripe_bytes * stripe_bytes;
    add(last.first(whole));
    std::uint64_t hash = size_bytes_ == 0 ? prime5 : merged_lanes();
    size_bytes_ += last.size() - whole;
    hash += size_bytes_;
    const std::byte* p = last.data() + whole;
    std::size_t left = last.size() - whole;
    for (; left >= 8; left -= 8, p += 8)
      hash = std::rotl(hash ^ round(0, word<std::uint64_t>(p)), 27) * prime1 + prime4;
    for (; left >= 4; left -= 4, p += 4)
      hash = std::rotl(hash ^ word<std::uint32_t>(p) * prime1, 23) * prime2 + prime3;
    for (; left > 0; --left, ++p)
      hash = std::rotl(hash ^ std::to_integer<std::uint64_t>(*p) * prime5, 11) * prime1;
    hash = (hash ^ hash >> 33) * prime2;
    hash = (hash ^ hash >> 29) * prime3;
    return hash ^ hash >> 32;
  }

 private:
  static constexpr std::uint64_t prime1 = 0x9e3779b185ebca87u, prime2 = 0xc2b2ae3d27d4eb4fu,
                                 prime3 = 0x165667b19e3779f9u, prime4 = 0x85ebca77c2b2ae63u,
                                 prime5 = 0x27d4eb2f165667c5u;

  template <class T>
  [[nodiscard]] static std::uint64_t word(const std::byte* p) noexcept {
    T value;
    std::memcpy(&value, p, sizeof(value));
    return value;
  }
  [[nodiscard]] static std::uint64_t round(std::uint64_t lane, std::uint64_t input) noexcept {
    return std::rotl(lane + input * prime2, 31) * prime1;
  }
  [[nodiscard]] std::uint64_t merged_lanes() const noexcept {
    std::uint64_t hash = 0;
    constexpr int turns[] = {1, 7, 12, 18};
    for (std::size_t i = 0; i < 4; ++i) hash += std::rotl(lanes_[i], turns[i]);
    for (const std::uint64_t lane : lanes_) hash = (hash ^ round(0, lane)) * prime1 + prime4;
    return hash;
  }

  std::array<std::uint64_t, 4> lanes_{prime1 + prime2, prime2, 0, 0 - prime1};
  std::uint64_t size_bytes_ = 0;
};

[[nodiscard]] inline std::uint64_t xxh64(std::span<const std::byte> bytes) noexcept {
  return Xxh64().finish(bytes);
}

}  // namespace pare
