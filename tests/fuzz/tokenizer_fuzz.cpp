#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "tokenizer/tokenizer.hpp"
#include "tokenizer/unicode.hpp"

/// Any bytes are a tokenizer.json or a pare::Error, and with one that is read any text gives tokens
/// in the vocabulary, or a pare::Error, and any tokens a text that is UTF-8. Input: the file, a
/// NUL, the text, a NUL, the tokens.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), size);
  const std::size_t text_end = end < size ? std::min(input.find('\0', end + 1), size) : size;
  const auto require = [](bool holds) {
    if (!holds) std::abort();
  };
  try {
    const auto tokenizer = tokenizer::Tokenizer::from_json(input.substr(0, end));
    const std::string text = end < size ? input.substr(end + 1, text_end - end - 1) : "";
    std::vector<tokenizer::Id> ids;
    for (std::size_t i = text_end + 1; i + 1 < size; i += 2)
      ids.push_back(data[i] | data[i + 1] << 8);
    require(tokenizer::find_invalid_utf8(tokenizer.decode(ids)) == std::string::npos);
    const auto encoding = tokenizer.encode(text);
    require(encoding.ids.size() == encoding.type_ids.size());
    const auto plain = tokenizer.encode(text, tokenizer::SpecialTokens::leave_out);
    for (const tokenizer::Id id : plain.ids) require(id >= 0 && id < tokenizer.vocab_size());
    (void)tokenizer.encode_pair(text, text);
    require(tokenizer::find_invalid_utf8(tokenizer.decode(encoding.ids, true)) ==
            std::string::npos);
  } catch (const pare::Error&) {
  }
  return 0;
}
