#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>

namespace cli {

/// A 64-bit fingerprint of bytes, to notice that inputs have changed; not against forgery.
class ContentHash {
 public:
  void add(std::span<const char> bytes) {
    while (bytes.size() >= 8) {
      std::uint64_t word;
      std::memcpy(&word, bytes.data(), 8);
      mix(word);
      bytes = bytes.subspan(8);
    }
    std::uint64_t rest = bytes.size() + 1;
    for (const char c : bytes) rest = rest << 8 | static_cast<unsigned char>(c);
    mix(rest);
  }

  [[nodiscard]] std::string hex() const {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(state_));
    return text;
  }

 private:
  /// One step of a multiply-and-fold hash with the odd constants of SplitMix64.
  void mix(std::uint64_t word) noexcept {
    state_ = (state_ ^ word) * 0xbf58476d1ce4e5b9u;
    state_ ^= state_ >> 29;
    state_ *= 0x94d049bb133111ebu;
    state_ ^= state_ >> 32;
  }

  std::uint64_t state_ = 0x9e3779b97f4a7c15u;
};

}  // namespace cli
