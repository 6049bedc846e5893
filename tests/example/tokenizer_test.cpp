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

TEST_CASE("the demo model's tokenizer.json gives bytes") {
  const Tokenizer tokenizer(std::filesystem::path(PARE_DEMO_MODEL_DIR) / "tokenizer.json");
  const std::string text = "In the beg\u00EFnning\r\n\t\U0001F600\u0000.";
  const Ids bytes = [&] {
    Ids ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }();
  CHECK(tokenizer.encode(text).ids == bytes);
  CHECK(tokenizer.decode(bytes) == text);
  CHECK(tokenizer.vocab_size() == 256);
}

TEST_CASE("what a tokenizer.json has wrong is named") {
  const struct {
    const char* kind;
    const char* place;  ///< JSON pointer
    json value;
    const char* says;
  } cases[] = {
      {"gpt2", "", json::array(), "not a JSON object"},
      {"gpt2", "/model", nullptr, "\"model\" is missing"},
      {"gpt2", "/model/type", "WordLevel", "the model \"WordLevel\" is not known"},
      {"gpt2", "/model/type", 7, "\"type\" is not a string"},
      {"gpt2", "/model/vocab", json::array(), "\"vocab\" is not an object"},
      {"gpt2", "/model/vocab/a", -1, "token \"a\": -1 is not the number of a token"},
      {"gpt2", "/model/vocab/a", 2000000000, "2000000000 is far outside"},
      {"gpt2", "/model/vocab/a", 1e300, "is not the number of a token"},
      {"gpt2", "/model/vocab/a", "64", "token \"a\""},
      {"gpt2", "/model/merges", "a b", "\"merges\" is not a list"},
      {"gpt2", "/model/merges/0", "a", "merge 0: it is not two texts"},
      {"gpt2", "/model/merges/0", "a b c", "merge 0: it is not two texts"},
      {"gpt2", "/model/merges/3", {"a", 5}, "merge 3: it is not two texts"},
      {"gpt2", "/model/merges/3", {"a", "\u4e00"}, "merge 3: its second part, \"\u4e00\", is not"},
      {"gpt2", "/model/merges/3", {"z", "q"}, "merge 3: its result, \"zq\", is not"},
      {"gpt2", "/model/unk_token", "<none>", "the unk_token, \"<none>\", is not"},
      {"gpt2", "/model/dropout", 0.1, "\"dropout\" is not supported"},
      {"gpt2", "/model/end_of_word_suffix", "</w>", "\"end_of_word_suffix\" is not supported"},
      {"gpt2", "/model/fuse_unk", 1, "\"fuse_unk\" is not a boolean"},
      {"gpt2", "/normalizer", {{"type", "Nmt"}}, "the normalizer \"Nmt\" is not known"},
      {"gpt2", "/normalizer", "NFC", "normalizer: a JSON object is needed"},
      {"gpt2", "/pre_tokenizer/type", "Punctuation", "the pre_tokenizer \"Punctuation\" is not"},
      {"gpt2", "/post_processor/type", "BertProcessing", "\"BertProcessing\" is not known"},
      {"gpt2", "/decoder/type", "CTC", "the decoder \"CTC\" is not known"},
      {"gpt2", "/added_tokens", "none", "\"added_tokens\" is not a list"},
      {"gpt2", "/added_tokens/0/id", nullptr, "added token 0: field \"id\" is missing"},
      {"gpt2", "/added_tokens/0/id", 1 << 30, "is far outside"},
      {"gpt2", "/added_tokens/0/content", std::string(2000, 'x'), "longer than 1024 bytes"},
      {"gpt2", "/added_tokens/0/lstrip", "yes", "\"lstrip\" is not a boolean"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "(a",
       "missing closing parenthesis"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", R"(\p{Klingon})", "Klingon"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", R"(\h+)",
       R"(\h is not supported)"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "[a-z&&[aeiou]]", "&& in a class"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "a{1,3}+", "}+ is not supported"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "(?i)a", "(?i is not supported"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", std::string(20000, 'a'),
       "too long"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern", {{"Glob", "*"}}, "neither a \"String\""},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern", {{"String", ""}}, "0 bytes, not 1 to"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/behavior", "Melted", "\"Melted\" is not known"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/invert", true, "\"invert\" is not supported"},
      {"llama3", "/post_processor/processors/1/single/1/Sequence/id", "B", "does not have A once"},
      {"llama3", "/post_processor/processors/1/pair/1/Sequence/id", "C",
       "there is no sequence \"C\""},
      {"llama3", "/post_processor/processors/1/special_tokens", json::object(),
       "the special token \"<|begin_of_text|>\" is missing"},
      {"roberta", "/post_processor/sep", json::array(), "\"sep\" is no token"},
      {"mistral", "/pre_tokenizer/replacement", "__", "\"__\" is not one character"},
      {"mistral", "/pre_tokenizer/prepend_scheme", "last",
       "the prepend_scheme \"last\" is not known"},
      {"llama2", "/decoder/decoders/3/content", "", "is not one character"},
      {"llama2", "/decoder/decoders/3/start", -1, "\"start\" is not in range"},
      {"t5", "/normalizer/normalizers/0/precompiled_charsmap", "AAQ", "cut short"},
      {"t5", "/normalizer/normalizers/0/precompiled_charsmap", "A*==", "no base64 at character 1"},
      {"t5", "/normalizer/normalizers/0/precompiled_charsmap", "AAAAAAAA", "does not fit"},
      {"t5", "/normalizer/normalizers/0/precompiled_charsmap", "////fwAA", "does not fit"},
      {"t5", "/normalizer/normalizers/1/strip_right", nullptr, "\"strip_right\" is missing"},
      {"t5", "/model/vocab", json::array(), "the vocabulary is empty"},
      {"t5", "/model/vocab/5", {"a"}, "token 5 is not a text and a score"},
      {"t5", "/model/vocab/5", {std::string(2000, 'a'), 0}, "token 5 is longer than 1024 bytes"},
      {"t5", "/model/unk_id", 400, "the unk_id 400 is outside"},
      {"bert", "/model/unk_token", "<unk>", "the unk_token \"<unk>\" is not in the vocabulary"},
      {"bert", "/model/max_input_chars_per_word", "100", "is not an integer"},
  };
  for (const auto& c : cases) {
    json file = sample(c.kind);
    file[json::json_pointer(c.place)] = c.value;
    CAPTURE(c.kind, c.place, c.value.dump().substr(0, 100));
    const std::string message = refusal_of(file);
    CHECK_THAT(message, ContainsSubstring(c.says));
    CHECK(message.find('\n') == std::string::npos);
  }
  json many = sample("gpt2");
  many["normalizer"] = {{"type", "Sequence"}, {"normalizers", json(101, {{"type", "NFC"}})}};
  CHECK_THAT(refusal_of(many), ContainsSubstring("more than 100 normalizers"));
  CHECK_THAT(refusal<pare::FormatError>([] { (void)Tokenizer::from_json("{\"model\": "); }),
             ContainsSubstring("no valid JSON"));
  const auto missing = samples / "gpt2/none.json";
  CHECK_THAT(refusal<pare::IoError>([&] { (void)Tokenizer(missing); }),
             ContainsSubstring(missing.string()));
}

TEST_CASE("text that is not UTF-8 is refused with its offset") {
  const Tokenizer tokenizer(samples / "bert/tokenizer.json");
  const struct {
    std::string text;
    const char* offset;
  } cases[] = {{"\xFF", "byte 0"},
               {"ab\xC3", "byte 2"},
               {"\u00E9\xC3(", "byte 2"},
               {"a\xED\xA0\x80", "byte 1"},               // a surrogate
               {"a\xC0\x80", "byte 1"},                   // an overlong form
               {"\U0010FFFF\xF4\x90\x80\x80", "byte 4"},  // beyond the last
               {"\xE2\x82", "byte 0"},
               {std::string("a\0\x80", 3), "byte 2"}};
  for (const auto& c : cases) {
    CHECK_THAT(refusal<pare::ArgumentError>([&] { (void)tokenizer.encode(c.text); }),
               ContainsSubstring("not UTF-8 at ") && Catch::EndsWith(c.offset));
    CHECK_THAT(refusal<pare::ArgumentError>([&] { (void)tokenizer.encode_pair("a", c.text); }),
               ContainsSubstring("the second text: ") && Catch::EndsWith(c.offset));
  }
}

TEST_CASE("an expression or a replacement that goes on for ever is an error") {
  json file = sample("gpt2");
  const auto refuse = [&](const std::string& text) {
    return refusal<pare::ArgumentError>(
        [&] { (void)Tokenizer::from_json(file.dump()).encode(text); });
  };
  file["pre_tokenizer"] = {{"type", "Split"},
                           {"pattern", {{"Regex", "(a+)+[bc]"}}},
                           {"behavior", "Isolated"},
                           {"invert", false}};
  CHECK_THAT(refuse(std::string(64, 'a')),
             ContainsSubstring("\"(a+)+[bc]\" stops at byte 0: match limit exceeded"));
  // Each doubles the text.
  json doubles = json::array();
  for (int i = 0; i < 60; ++i)
    doubles.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}});
  file["normalizer"] = {{"type", "Sequence"}, {"normalizers", doubles}};
  CHECK_THAT(refuse("aaa"), ContainsSubstring("more than 160 bytes of a part of the text"));
  file["normalizer"] = nullptr;
  json letters = json::array();
  for (int i = 0; i < 60; ++i)
    letters.push_back({{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", false}});
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", letters}};
  CHECK_THAT(refuse("\u00E9"), ContainsSubstring("bytes of a part of the text"));
}

TEST_CASE("a piece as long as the text takes no time that grows with its square") {
  // Quadratic loops would take hours for these.
  const std::string spaces(1 << 20, ' ');
  CHECK(Tokenizer(samples / "llama2/tokenizer.json").encode(spaces).ids.size() == 262146);
  std::string marks;
  for (int i = 0; i < 1 << 18; ++i) marks += "\u0301\u0323";  // each pair is to be exchanged
  CHECK(Tokenizer(samples / "qwen2/tokenizer.json").encode(marks).ids.size() > 0);
  CHECK(Tokenizer(samples / "xlmr/tokenizer.json").encode(std::string(1 << 20, 'a')).ids.size() >
        2);
}

TEST_CASE("what files may write otherwise is read the same") {
  const auto ids_of = [](const json& file, const std::string& text) {
    return Tokenizer::from_json(file.dump()).encode(text).ids;
  };
  const std::string text = "In the beginning, it's 12 \u00E9!";
  SECTION("merges as texts") {
    json file = sample("gpt2");
    const Ids ids = ids_of(file, text);
    for (json& merge : file["model"]["merges"])
      merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    CHECK(ids_of(file, text) == ids);
  }
  SECTION("models without a type") {
    for (const char* kind : {"gpt2", "bert"}) {
      json file = sample(kind);
      const Ids ids = ids_of(file, text);
      file["model"].erase("type");
      CHECK(ids_of(file, text) == ids);
    }
  }
  SECTION("add_prefix_space in place of prepend_scheme") {
    json file = sample("t5");
    const Ids ids = ids_of(file, text);
    file["pre_tokenizer"].erase("prepend_scheme");
    file["pre_tokenizer"]["add_prefix_space"] = true;
    CHECK(ids_of(file, text) == ids);
    file["pre_tokenizer"]["add_prefix_space"] = false;
    CHECK(ids_of(file, text) != ids);
  }
  SECTION("no decoder: tokens with spaces between") {
    json file = sample("bert");
    file["decoder"] = nullptr;
    CHECK(Tokenizer::from_json(file.dump()).decode(Ids{2, 4, 3}) == "[CLS] [MASK] [SEP]");
  }
}

TEST_CASE("rules that the samples do not show are those of the library tokenizers") {
  json file = sample("llama2");
  SECTION("a normalized token is looked for, and printed, as the normalizer leaves it") {
    file["added_tokens"][2]["normalized"] = true;
    const auto tokenizer = Tokenizer::from_json(file.dump());
    CHECK(tokenizer.encode("</s>").ids == Ids{1, 2});
    CHECK(tokenizer.decode(Ids{384, 2}) == "a </s>");
  }
  SECTION("the first token loses all marks") {
    file["decoder"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}};
    const auto tokenizer = Tokenizer::from_json(file.dump());
    const Ids ids = tokenizer.encode("  a", SpecialTokens::leave_out).ids;
    REQUIRE(ids.size() == 2);  // the first has two marks
    CHECK(tokenizer.decode(ids).find("a") <= 1);
  }
  SECTION("an empty match cuts") {
    json gpt2 = sample("gpt2");
    gpt2["pre_tokenizer"] = {
        {"type", "Split"}, {"pattern", {{"Regex", "b*"}}}, {"behavior", "Isolated"}};
    CHECK(Tokenizer::from_json(gpt2.dump()).encode("the").ids.size() == 3);
  }
  SECTION("a word character is what Oniguruma takes for one") {
    file["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", R"(\w)"}}}, {"content", "a"}};
    const auto tokenizer = Tokenizer::from_json(file.dump());
    const Ids a = tokenizer.encode("a").ids, none = tokenizer.encode("-").ids;
    for (const char* word : {"b", "_", "9", "\u00B2", "\u00BD", "\u20E3", "\u203F"})
      CHECK(tokenizer.encode(word).ids == a);
    for (const char* other : {"\u2460", " ", "\u200B"}) CHECK(tokenizer.encode(other).ids != a);
    CHECK(none != a);
  }
}
#endif
