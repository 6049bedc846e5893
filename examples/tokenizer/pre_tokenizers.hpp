#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "tokenizer/pieces.hpp"

namespace tokenizer {

/// Cuts pieces smaller; the model sees each piece by itself.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// `begins_text`: no token stands before the first piece.
  [[nodiscard]] virtual Pieces apply(Pieces pieces, bool begins_text) const = 0;
};

/// Reads a "pre_tokenizer"; null gives nullptr. Throws FormatError naming a type that is not known.
[[nodiscard]] std::unique_ptr<PreTokenizer> read_pre_tokenizer(const nlohmann::json& description);

}  // namespace tokenizer
