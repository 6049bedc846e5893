#pragma once

#include <cstddef>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tokenizer {

/// Rewrites text before it is cut.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  /// ArgumentError when the result exceeds the limit.
  [[nodiscard]] virtual std::string apply(std::string text, std::size_t limit_bytes) const = 0;
};

/// Reads a "normalizer"; null gives nullptr. Throws FormatError naming a type that is not known.
[[nodiscard]] std::unique_ptr<Normalizer> read_normalizer(const nlohmann::json& description);

}  // namespace tokenizer
