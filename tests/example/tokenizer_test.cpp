#ifdef PARE_HAVE_TOKENIZER_JSON
#include "tokenizer/tokenizer.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
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

/// The form of a normalizer's map: units of a double array, then texts that NUL ends.
std::string character_map(std::uint32_t size, const std::map<std::uint32_t, std::uint32_t>& units,
                          const std::string& texts) {
  std::string bytes;
  const auto add = [&](std::uint32_t number) {
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(number >> shift & 0xFF);
  };
  add(4 * size);
  for (std::uint32_t i = 0; i < size; ++i) add(units.contains(i) ? units.at(i) : 0);
  bytes += texts;
  constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k)
      text += i + k <= bytes.size() ? digits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

Ids unigram_ids(const std::string& vocab, const std::string& text) {
  return Tokenizer::from_json(R"({"model": {"type": "Unigram", "unk_id": 0, "vocab": )" + vocab +
                              "}}")
      .encode(text)
      .ids;
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
  // Each maximal beginning of a character is one U+FFFD, as Python's decode has it.
  const struct {
    Ids bytes;
    std::string text;
  } cases[] = {{{0xE2, 0x82, 0x41}, "\uFFFDA"},
               {{0xF0, 0x9F, 0x98}, "\uFFFD"},
               {{0xED, 0xA0, 0x80}, "\uFFFD\uFFFD\uFFFD"},
               {{0xE0, 0x80, 0xC2}, "\uFFFD\uFFFD\uFFFD"},
               {{0xF4, 0x90, 0x80, 0x80}, "\uFFFD\uFFFD\uFFFD\uFFFD"},
               {{0xC3, 0xC3, 0xA9}, "\uFFFD\u00E9"},
               {{256, 65, -1, 1 << 30}, "A"}};
  for (const auto& c : cases) CHECK(tokenizer.decode(c.bytes) == c.text);
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
      {"gpt2", "/added_tokens/0/content", std::string(2000, 'x'), "longer than 512 bytes"},
      {"gpt2", "/added_tokens/0/lstrip", "yes", "\"lstrip\" is not a boolean"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "(a",
       "missing closing parenthesis"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", R"(\p{Klingon})", "Klingon"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", R"(\h+)",
       R"(\h is not supported)"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "[a-z&&[aeiou]]", "&& in a class"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "a{1,3}+", "}+ is not supported"},
      {"llama3", "/pre_tokenizer/pretokenizers/0/pattern/Regex", R"((a+)\1)", "a reference back"},
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
      {"t5", "/model/vocab/5", {std::string(2000, 'a'), 0}, "token 5 is longer than 512 bytes"},
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

TEST_CASE("a match is found however long it is, and wherever") {
  json file = sample("gpt2");
  const Ids none = Tokenizer::from_json(file.dump()).encode("").ids;
  const auto ids_of = [&](const char* expression, const std::string& text) {
    file["normalizer"] = {
        {"type", "Replace"}, {"pattern", {{"Regex", expression}}}, {"content", ""}};
    return Tokenizer::from_json(file.dump()).encode(text).ids;
  };
  for (std::size_t place = 0; place < 40; ++place)
    CHECK(ids_of("b", std::string(place, 'x') + "b") == ids_of("b", std::string(place, 'x')));
  for (const std::size_t length : {1u, 8u, 4095u, 4096u, 4097u, 8192u, 20000u}) {
    CAPTURE(length);
    const std::string run(length, 'a');
    CHECK(ids_of("a+b", run + "b" + run + "b") == none);
    CHECK(ids_of("a+b", "b" + run) == ids_of("x", "b" + run));
    CHECK(ids_of("(?<=a)b", run + "b") == ids_of("x", run));
    CHECK(ids_of("a+$", run) == none);
    CHECK(ids_of("^a+(?!a)", run) == none);
    std::string wide;
    for (std::size_t i = 0; i < length; ++i) wide += "\u00E9";
    CHECK(ids_of(".", wide) == none);
    CHECK(ids_of("\u00E9x", wide + "x") == ids_of("x", wide.substr(2)));
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
  CHECK_THAT(refuse("aaa"), ContainsSubstring("more than 100 bytes of a part of the text"));
  file["normalizer"] = nullptr;
  json letters = json::array();
  for (int i = 0; i < 60; ++i)
    letters.push_back({{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", false}});
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", letters}};
  CHECK_THAT(refuse("\u00E9"), ContainsSubstring("bytes of a part of the text"));
}

TEST_CASE("tokens with texts as long as the file are not decoded without end") {
  json file = sample("gpt2");
  file["model"]["vocab"][std::string(1 << 20, 'x')] = 400;
  const auto tokenizer = Tokenizer::from_json(file.dump());
  CHECK_THAT(refusal<pare::ArgumentError>([&] { (void)tokenizer.decode(Ids(100000, 400)); }),
             ContainsSubstring("the text of 100000 tokens is longer than"));
}

TEST_CASE("a piece as long as the text takes no time that grows with its square") {
  // Quadratic loops would take hours for these.
  const std::string spaces(1 << 20, ' ');
  CHECK(Tokenizer(samples / "llama2/tokenizer.json").encode(spaces).ids.size() == 262146);
  // Each space is a token that takes the spaces after it, too.
  json greedy = sample("gpt2");
  greedy["added_tokens"].push_back({{"id", 401}, {"content", " "}, {"rstrip", true}});
  CHECK(Tokenizer::from_json(greedy.dump()).encode(spaces).ids.size() == spaces.size());
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
  SECTION("an added token is known by its text, whatever number the file gives it") {
    json gpt2 = sample("gpt2");
    const auto id_of = [&](const char* text, int id) {
      json changed = gpt2;
      changed["added_tokens"].push_back({{"id", id},
                                         {"content", text},
                                         {"special", false},
                                         {"single_word", false},
                                         {"lstrip", false},
                                         {"rstrip", false},
                                         {"normalized", true}});
      return Tokenizer::from_json(changed.dump()).encode(text).ids;
    };
    CHECK(id_of("hello", 420) == Ids{401});
    CHECK(id_of("hel", 5) == Ids{401});
  }
  SECTION("the first token loses all marks") {
    file["decoder"] = {{"type", "Metaspace"}, {"replacement", "\u2581"}};
    const auto tokenizer = Tokenizer::from_json(file.dump());
    const Ids ids = tokenizer.encode("  a", SpecialTokens::leave_out).ids;
    REQUIRE(ids.size() == 2);  // the first has two marks
    CHECK(tokenizer.decode(ids).find("a") <= 1);
  }
  SECTION("unknown characters in a row are one token if the file says so") {
    file["model"]["byte_fallback"] = false;
    for (const bool fuses : {true, false}) {
      file["model"]["fuse_unk"] = fuses;
      const auto ids = Tokenizer::from_json(file.dump()).encode("\u6F22\u5B57a\u6F22").ids;
      CHECK(std::count(ids.begin(), ids.end(), 0) == (fuses ? 2 : 3));
    }
  }
  SECTION("an unknown character costs 10 more than the least likely token") {
    const auto ids = [](const char* vocab) { return unigram_ids(vocab, "xy"); };
    CHECK(ids(R"([["<unk>", 0], ["x", 5], ["xy", -19], ["z", -15]])") == Ids{2});
    CHECK(ids(R"([["<unk>", 0], ["x", 5], ["xy", -14.9], ["z", -15]])") == Ids{2});
    CHECK(ids(R"([["<unk>", 0], ["x", 12], ["xy", -14], ["z", -15]])") == Ids{1, 0});
  }
  SECTION("ways as good are told apart by how the library reads scores") {
    CHECK(unigram_ids(R"([["<unk>", 0], ["b", -7.033705952999927], ["a", -8.113770460000584],
                          ["aa", -9.520938417613145]])",
                      "baaa") == Ids{1, 3, 2});
    CHECK(unigram_ids(R"([["<unk>", 0], ["b", -7], ["a", -8], ["aa", -9]])", "baaa") ==
          Ids{1, 2, 3});
  }
  SECTION("a word of more characters than the model takes is unknown") {
    const Tokenizer tokenizer(samples / "bert/tokenizer.json");
    const auto tokens = [&](std::size_t count) {
      return tokenizer.encode(std::string(count, 'a'), SpecialTokens::leave_out).ids.size();
    };
    CHECK(tokens(100) > 1);
    CHECK(tokens(101) == 1);
  }
  SECTION("words are joined, and signs cleaned up") {
    const auto text = [](bool cleans) {
      json words = {{"model",
                     {{"type", "WordPiece"},
                      {"unk_token", "a"},
                      {"continuing_subword_prefix", "##"},
                      {"max_input_chars_per_word", 100}}},
                    {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", cleans}}}};
      Ids ids;
      for (const char* word : {"##b", "a", ".", "?", "!", ",", "'", "n't", "'m", "do not", "'s",
                               "'ve", "'re", "##c", "' d"}) {
        words["model"]["vocab"][word] = ids.size();
        ids.push_back(static_cast<tokenizer::Id>(ids.size()));
      }
      return Tokenizer::from_json(words.dump()).decode(ids);
    };
    CHECK(text(true) == "##b a.?!, 'n't'm don't's've'rec'd");
    CHECK(text(false) == "##b a . ? ! , ' n't 'm do not 's 've 'rec ' d");
  }
  SECTION("an empty match cuts") {
    json gpt2 = sample("gpt2");
    gpt2["pre_tokenizer"] = {
        {"type", "Split"}, {"pattern", {{"Regex", "b*"}}}, {"behavior", "Isolated"}};
    CHECK(Tokenizer::from_json(gpt2.dump()).encode("the").ids.size() == 3);
  }
  SECTION("nothing is put before a text that a normalizer has emptied") {
    file["normalizer"] = {{"type", "Sequence"},
                          {"normalizers",
                           {{{"type", "Replace"}, {"pattern", {{"String", "x"}}}, {"content", ""}},
                            {{"type", "Prepend"}, {"prepend", "a"}}}}};
    CHECK(Tokenizer::from_json(file.dump()).encode("x").ids == Ids{1});
  }
  SECTION("ideographs stand alone") {
    const Tokenizer tokenizer(samples / "bert_cased/tokenizer.json");
    for (const char* ideograph :
         {"\u3400", "\u4DBF", "\u4E00", "\u9FFF", "\uF900", "\uFAFF", "\U00020000", "\U0002A6DF",
          "\U0002A700", "\U0002B73F", "\U0002B740", "\U0002B81F", "\U0002B920", "\U0002CEAF",
          "\U0002F800", "\U0002FA1F"})
      CHECK(tokenizer.encode(std::string("a") + ideograph + "a").ids.size() == 5);
    for (const char* other : {"\u33FF", "\u4DC0", "\uFB00", "\U0002A6E0", "\U0002FA20"})
      CHECK(tokenizer.encode(std::string("a") + other + "a").ids.size() == 3);
  }
  SECTION("of a map's beginnings the shortest stands for a short cluster") {
    // a to x, a with an acute to y, ab to z.
    file["normalizer"] = {{"type", "Precompiled"},
                          {"precompiled_charsmap", character_map(132,
                                                                 {{0, 98304},
                                                                  {1, 79201},
                                                                  {2, 1409},
                                                                  {3, 2147483650},
                                                                  {4, 2147483652},
                                                                  {46, 43362},
                                                                  {76, 2147483648},
                                                                  {128, 3276}},
                                                                 {"x\0y\0z", 6})}};
    const auto tokenizer = Tokenizer::from_json(file.dump());
    for (const char* text : {"a", "a\u0301", "a\u0300"})
      CHECK(tokenizer.encode(text).ids == tokenizer.encode("x").ids);
    CHECK(tokenizer.encode("ab").ids == tokenizer.encode("xb").ids);
    CHECK(tokenizer.encode("a\u0301\u0301\u0301").ids ==
          tokenizer.encode("x\u0301\u0301\u0301").ids);
  }
  SECTION("digits are pieces each, or together") {
    json bert = sample("bert");
    const auto pieces = [&](bool individual) {
      bert["pre_tokenizer"] = {{"type", "Digits"}, {"individual_digits", individual}};
      return Tokenizer::from_json(bert.dump()).encode("a12", SpecialTokens::leave_out).ids;
    };
    const Tokenizer whole(samples / "bert/tokenizer.json");
    CHECK(pieces(true) == whole.encode("a 1 2", SpecialTokens::leave_out).ids);
    CHECK(pieces(false) == whole.encode("a 12", SpecialTokens::leave_out).ids);
  }
  SECTION("lower case of one character can be two") {
    file["normalizer"] = {{"type", "Lowercase"}};
    const auto tokenizer = Tokenizer::from_json(file.dump());
    CHECK(tokenizer.encode("\u0130A\u03A3").ids == tokenizer.encode("i\u0307a\u03C3").ids);
    CHECK(tokenizer.encode("\u0130").ids != tokenizer.encode("i").ids);
  }
  SECTION("white space is the property") {
    file["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", R"(\s)"}}}, {"content", "a"}};
    const auto tokenizer = Tokenizer::from_json(file.dump());
    const Ids a = tokenizer.encode("a").ids;
    for (const char* space : {"\u0085", "\u00A0", "\u1680", "\u3000", "\v"})
      CHECK(tokenizer.encode(space).ids == a);
    for (const char* other : {"\u180E", "\u200B", "\uFEFF"})
      CHECK(tokenizer.encode(other).ids != a);
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
