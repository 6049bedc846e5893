#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "engine/model.hpp"

namespace lab {

/// Mean bits of the next byte over whole windows of a text, of a model that reads bytes.
[[nodiscard]] inline double bits_per_byte(const engine::Model& model, const std::string& text,
                                          const pare::Execution& execution,
                                          pare::Index window = 256) {
  using pare::Index;
  const engine::Decoder decoder(model, execution);
  std::vector<std::int32_t> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  const Index windows = (std::ssize(ids) - 1) / window;
  double nats = 0.0;
  for (Index w = 0; w < windows; ++w) {
    const std::span<const std::int32_t> own(ids.data() + w * window,
                                            static_cast<std::size_t>(window) + 1);
    const pare::Matrix<float> logits =
        decoder.logits(own.first(static_cast<std::size_t>(window)), window);
    for (Index t = 0; t < window; ++t) {
      double largest = -1e30, sum = 0.0;
      for (Index v = 0; v < logits.cols(); ++v)
        largest = std::max(largest, static_cast<double>(logits(t, v)));
      for (Index v = 0; v < logits.cols(); ++v)
        sum += std::exp(static_cast<double>(logits(t, v)) - largest);
      nats += largest + std::log(sum) -
              static_cast<double>(logits(t, own[static_cast<std::size_t>(t) + 1]));
    }
  }
  return nats / std::log(2.0) / static_cast<double>(windows * window);
}

/// Quality and time of a model on a text.
struct Measured {
  double bits = 0.0, seconds = 0.0;
};
[[nodiscard]] inline Measured measure(const engine::Model& model, const std::string& text,
                                      const pare::Execution& execution) {
  const auto start = std::chrono::steady_clock::now();
  const double bits = bits_per_byte(model, text, execution);
  return {bits, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
}

}  // namespace lab
