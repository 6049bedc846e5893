#pragma once

#include <cstddef>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace tokenizer {

/// Turns the texts of tokens into parts of the text; the text is all of them joined.
class TextDecoder {
 public:
  virtual ~TextDecoder() = default;
  /// ArgumentError when a result exceeds the limit.
  [[nodiscard]] virtual std::vector<std::string> apply(std::vector<std::string> tokens,
                                                       std::size_t limit_bytes) const = 0;
};

/// Reads a "decoder"; null gives nullptr. Throws FormatError naming a type that is not known.
[[nodiscard]] std::unique_ptr<TextDecoder> read_decoder(const nlohmann::json& description);

}  // namespace tokenizer
