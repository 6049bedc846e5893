#ifdef PARE_HAVE_TOKENIZER_JSON
#include "tokenizer/tokenizer.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include "pare/io/json.hpp"
#include "support/catch.hpp"

/// What `tokenizers` 0.23.3 makes of awkward texts lies beside small files of the kinds in use.
namespace {

using nlohmann::json;
using tokenizer::SpecialTokens;
using tokenizer::Tokenizer;

using Ids = std::vector<tokenizer::Id>;

const std::filesystem::path samples = std::filesystem::path(PARE_TEST_DATA_DIR) / "tokenizers";

json sample(const std::string& kind) { return pare::read_json(samples / kind / "tokenizer.json"); }

/// The message with which something is refused.
template <class Error, class F>
std::string refusal(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::string refusal_of(const json& file) {
  return refusal<pare::FormatError>([&] { (void)Tokenizer::from_json(file.dump()); });
}

}  // namespace

TEST_CASE("tokens and texts are those of the library tokenizers") {
  std::size_t kinds = 0;
  for (const auto& entry : std::filesystem::directory_iterator(samples)) {
    const std::string kind = entry.path().filename().string();
    const Tokenizer tokenizer(entry.path() / "tokenizer.json");
    const json expected = pare::read_json(entry.path() / "expected.json");
    ++kinds;
    for (const json& c : expected["encode"]) {
      const auto text = c["text"].get<std::string>();
      const auto ids = c["ids"].get<Ids>(), plain = c["ids_plain"].get<Ids>();
      CAPTURE(kind, text);
      CHECK(tokenizer.encode(text).ids == ids);
      CHECK(tokenizer.encode(text, SpecialTokens::leave_out).ids == plain);
      CHECK(tokenizer.decode(ids) == c["decoded"].get<std::string>());
      CHECK(tokenizer.decode(plain, true) == c["decoded_plain"].get<std::string>());
    }
    for (const json& c : expected["decode"]) {
      const auto ids = c["ids"].get<Ids>();
      CAPTURE(kind, ids);
      CHECK(tokenizer.decode(ids) == c["decoded"].get<std::string>());
      CHECK(tokenizer.decode(ids, true) == c["decoded_skip"].get<std::string>());
    }
    for (const json& c : expected["pairs"]) {
      const auto first = c["text"].get<std::string>(), second = c["pair"].get<std::string>();
      CAPTURE(kind, first, second);
      const auto encoding = tokenizer.encode_pair(first, second);
      CHECK(encoding.ids == c["ids"].get<Ids>());
      CHECK(encoding.type_ids == c["type_ids"].get<std::vector<std::int32_t>>());
    }
  }
  CHECK(kinds == 16);
}
#endif
