#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace pare {

/// Seeded pseudo-random numbers that are the same on every platform and standard library.
///
/// Generator: xoshiro256++ seeded through SplitMix64.
/// Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021.
class Random {
 public:
  using result_type = std::uint64_t;

  explicit constexpr Random(std::uint64_t seed) noexcept {
    for (std::uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15u;
      std::uint64_t z = seed;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
      word = z ^ (z >> 31);
    }
  }

  static constexpr std::uint64_t min() noexcept { return 0; }
  static constexpr std::uint64_t max() noexcept { return ~std::uint64_t{0}; }

  constexpr std::uint64_t operator()() noexcept {
    const std::uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  /// Uniform in [0, 1), 24 bits.
  constexpr float uniform() noexcept { return static_cast<float>((*this)() >> 40) * 0x1p-24f; }
  constexpr float uniform(float lo, float hi) noexcept { return lo + (hi - lo) * uniform(); }

  /// Uniform in [0, n), n > 0; the bias of the multiply-shift is below n / 2^32.
  constexpr std::uint32_t below(std::uint32_t n) noexcept {
    return static_cast<std::uint32_t>((((*this)() >> 32) * n) >> 32);
  }

  /// Standard normal by Box and Muller's transform.
  float normal() noexcept {
    const double radius =
        std::sqrt(-2.0 * std::log(1.0 - static_cast<double>((*this)() >> 11) * 0x1p-53));
    const double angle = 6.283185307179586 * (static_cast<double>((*this)() >> 11) * 0x1p-53);
    return static_cast<float>(radius * std::cos(angle));
  }

 private:
  std::uint64_t state_[4]{};
};

}  // namespace pare
