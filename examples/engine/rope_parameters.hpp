#pragma once

#include <cstdint>
#include <vector>

#include "pare/core/index.hpp"
#include "pare/core/tensor.hpp"

namespace engine {

using pare::Index;

/// How positions turn queries and keys: the angles of one token are position * frequencies.
///
/// Kinds as transformers names them, f_i = theta^(-2i / rotated) being the plain frequencies, s the
/// factor, L the positions of the first training, n the tokens of the text so far:
///
///     linear    f_i / s
///     dynamic   theta grows with n beyond L
///     llama3    f_i, f_i / s, and a blend between, by how often f_i turns within L
///     yarn      the same by another ramp; sines and cosines are scaled
///     longrope  f_i / short_factors[i], or long_factors[i] where n > L; sines and cosines scaled
///
/// Source    Su et al., "RoFormer", 2021; Peng et al., "YaRN", 2023; Ding et al., "LongRoPE", 2024
struct RopeParameters {
  enum class Kind : std::uint8_t { plain, linear, dynamic, llama3, yarn, longrope };

  Kind kind = Kind::plain;
  Index rotated = 0;  ///< elements of a head, from its first on
  /// Elements 2i and 2i + 1 are a pair, not i and i + rotated / 2.
  bool neighbours = false;
  float theta = 10000.0f;
  double factor = 1.0;
  double original_positions = 0.0;                                 ///< L
  double low_frequency_factor = 1.0, high_frequency_factor = 4.0;  ///< of llama3
  double beta_fast = 32.0, beta_slow = 1.0;                        ///< of yarn
  bool truncate = true;                                 ///< of yarn: whole ends of the ramp
  float magnitude = 1.0f;                               ///< of sines and cosines
  std::vector<double> short_factors{}, long_factors{};  ///< of longrope, one per frequency

  /// (rotated / 2) for a text of `tokens` tokens so far.
  [[nodiscard]] pare::Vector<float> frequencies(Index tokens) const;
  /// Whether they change with the text.
  [[nodiscard]] bool depend_on_length() const noexcept {
    return kind == Kind::dynamic || kind == Kind::longrope;
  }
};

}  // namespace engine
