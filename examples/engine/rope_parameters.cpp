#include "engine/rope_parameters.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace engine {
namespace {

float plain(float theta, Index i, Index rotated) {
  return std::pow(theta, -static_cast<float>(2 * i) / static_cast<float>(rotated));
}

/// Between no stretching (1) and all of it (0), by the turns within the first training.
double llama3_kept(const RopeParameters& p, double frequency) {
  const double turns = p.original_positions * frequency / (2.0 * std::numbers::pi);
  return std::clamp(
      (turns - p.low_frequency_factor) / (p.high_frequency_factor - p.low_frequency_factor), 0.0,
      1.0);
}

/// From 0 (fast, kept) to 1 (slow, stretched) along the frequencies.
double yarn_stretched(const RopeParameters& p, Index i) {
  const auto r = static_cast<double>(p.rotated), theta = static_cast<double>(p.theta);
  const auto place = [&](double turns) {
    return r * std::log(p.original_positions / (2.0 * std::numbers::pi * turns)) /
           (2.0 * std::log(theta));
  };
  double low = place(p.beta_fast), high = place(p.beta_slow);
  if (p.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, r - 1.0);
  if (low == high) high += 0.001;
  return std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
}

/// Theta of `dynamic`, which leaves texts within the first training as they were.
double dynamic_theta(const RopeParameters& p, Index tokens) {
  const auto n = static_cast<double>(tokens), r = static_cast<double>(p.rotated);
  const auto theta = static_cast<double>(p.theta);
  if (n <= p.original_positions) return theta;
  return theta * std::pow(p.factor * n / p.original_positions - (p.factor - 1.0), r / (r - 2.0));
}

}  // namespace

pare::Vector<float> RopeParameters::frequencies(Index tokens) const {
  pare::Vector<float> result({rotated / 2});
  const float base =
      kind == Kind::dynamic ? static_cast<float>(dynamic_theta(*this, tokens)) : theta;
  for (Index i = 0; i < result.size(); ++i) {
    const double f = static_cast<double>(plain(base, i, rotated));
    double stretched = f;
    if (kind == Kind::linear) {
      stretched = f / factor;
    } else if (kind == Kind::llama3) {
      const double kept = llama3_kept(*this, f);
      stretched = kept * f + (1.0 - kept) * f / factor;
    } else if (kind == Kind::yarn) {
      const double ramp = yarn_stretched(*this, i);
      stretched = ramp * f / factor + (1.0 - ramp) * f;
    } else if (kind == Kind::longrope) {
      const bool is_long = static_cast<double>(tokens) > original_positions;
      stretched = f / (is_long ? long_factors : short_factors)[static_cast<std::size_t>(i)];
    }
    result[i] = static_cast<float>(stretched);
  }
  return result;
}

}  // namespace engine
