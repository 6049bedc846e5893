#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cli/text_stream.hpp"
#include "pare/io/json.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"
#ifdef PARE_HAVE_TOKENIZER_JSON
#include "tokenizer/tokenizer.hpp"
#include "tokenizer/unicode.hpp"
#endif

namespace {

using namespace pare;
using namespace pare::test;
using nlohmann::json;
using Ids = std::vector<std::int32_t>;

/// One line on standard error, and no output.
std::string refused_line(const std::vector<std::string>& arguments) {
  const Outcome outcome = run_pare(arguments);
  CAPTURE(arguments, outcome.out);
  CHECK(outcome.status > 0);
  CHECK(outcome.out.empty());
  CHECK(outcome.error_lines() == 1);
  return outcome.err;
}

}  // namespace

TEST_CASE("text of tokens that come one by one is whole characters") {
  // Tokens are bytes, but 'S' takes the space before it and 'R' makes all before it unreadable.
  const auto decode = [](std::span<const std::int32_t> ids) {
    std::string text;
    for (const std::int32_t id : ids) {
      if (id == 'S' && text.ends_with(' ')) text.pop_back();
      if (id == 'R') text = "\uFFFD";
      text += static_cast<char>(id);
    }
    std::string valid;
    for (std::size_t i = 0; i < text.size();) {
      const auto byte = static_cast<unsigned char>(text[i]);
      const std::size_t length = byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
      const bool whole = byte < 0x80 || (byte >= 0xC0 && i + length <= text.size());
      valid += whole ? text.substr(i, length) : "\uFFFD";
      i += whole ? length : text.size();
    }
    return valid;
  };
  const auto parts = [&](const std::string& bytes) {
    cli::TextStream stream(decode);
    std::vector<std::string> added;
    for (const char c : bytes)
      added.push_back(stream.add(std::int32_t{static_cast<unsigned char>(c)}));
    added.push_back(stream.finish());
    return added;
  };
  using Parts = std::vector<std::string>;
  CHECK(parts("ab") == Parts{"a", "b", ""});
  CHECK(parts("a\u00E9b") == Parts{"a", "", "\u00E9", "b", ""});
  CHECK(parts("\U0001F600") == Parts{"", "", "", "\U0001F600", ""});
  CHECK(parts("a\xE2\x82") == Parts{"a", "", "", "\uFFFD"});
  // What was given out is not taken back, and what follows is whole.
  CHECK(parts("a S") == Parts{"a", " ", "S", ""});
  CHECK(parts("\u00E9Rb").back() == "");
  // What does not become whole is not waited for without end.
  const auto never = parts(std::string(30, '\x80'));
  CHECK(never[7].empty());
  CHECK(never[8] == "\uFFFD");
}

#ifdef PARE_HAVE_TOKENIZER_JSON
namespace {

const std::filesystem::path tokenizers_in_use =
    std::filesystem::path(PARE_TEST_DATA_DIR) / "tokenizers";

std::string lines(const json& ids) {
  std::string text;
  for (const json& id : ids) text += std::to_string(id.get<int>()) + "\n";
  return text;
}

std::string npy_of(const Ids& ids) {
  std::string header =
      "{'descr': '<i4', 'fortran_order': False, 'shape': (" + std::to_string(ids.size()) + ",), }";
  header.resize(117, ' ');
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n" +
         std::string(reinterpret_cast<const char*>(ids.data()), 4 * ids.size());
}

}  // namespace

TEST_CASE("a stream of every sample's tokens is the text") {
  for (const auto& entry : std::filesystem::directory_iterator(tokenizers_in_use)) {
    const tokenizer::Tokenizer tokenizer(entry.path() / "tokenizer.json");
    const json expected = read_json(entry.path() / "expected.json");
    for (const json& c : expected["encode"]) {
      const auto ids = c["ids_plain"].get<Ids>();
      cli::TextStream stream(
          [&](std::span<const std::int32_t> some) { return tokenizer.decode(some, true); });
      std::string text;
      for (const std::int32_t id : ids) {
        text += stream.add(id);
        CHECK(tokenizer::find_invalid_utf8(text) == std::string::npos);
      }
      text += stream.finish();
      CAPTURE(entry.path().filename(), ids);
      CHECK(text == c["decoded_plain"].get<std::string>());
    }
  }
}

TEST_CASE("tokenize turns text into ids and back") {
  const TemporaryDirectory directory;
  const std::string text = (directory / "text").string(), pair = (directory / "pair").string();
  const std::string ids = (directory / "ids.npy").string(), out = (directory / "out").string();
  for (const char* kind : {"llama3", "phi3", "xlmr", "bert"}) {
    const std::string model = (tokenizers_in_use / kind).string();
    const json expected = read_json(tokenizers_in_use / kind / "expected.json");
    for (std::size_t i = 0; i < expected["encode"].size(); i += 9) {
      const json& c = expected["encode"][i];
      CAPTURE(kind, i);
      write_text(text, c["text"].get<std::string>());
      CHECK(output_of({"tokenize", model, "--text", text}) == lines(c["ids"]));
      CHECK(output_of({"tokenize", model, "--text", text, "--plain"}) == lines(c["ids_plain"]));
      CHECK(output_of({"tokenize", model, "--text", text, "--out", ids}).empty());
      CHECK(output_of({"tokenize", model, "--decode", ids}) == c["decoded"].get<std::string>());
      CHECK(output_of({"tokenize", model, "--text", text, "--plain", "--out", ids}).empty());
      CHECK(
          output_of({"tokenize", model, "--decode", ids, "--skip-special", "--out", out}).empty());
      CHECK(read_text(out) == c["decoded_plain"].get<std::string>());
    }
    const json& c = expected["pairs"][0];
    write_text(text, c["text"].get<std::string>());
    write_text(pair, c["pair"].get<std::string>());
    CHECK(output_of({"tokenize", model, "--text", text, "--pair", pair}) == lines(c["ids"]));
    CHECK(output_of({"tokenize", model + "/tokenizer.json", "--text", text, "--pair", pair}) ==
          lines(c["ids"]));
  }
  // Without MODEL the demo model's: bytes. Numbers outside the vocabulary are left out.
  write_text(text, "Noah\n");
  CHECK(output_of({"tokenize", "--text", text}) == "78\n111\n97\n104\n10\n");
  write_text(ids, npy_of({78, 256, 0x7FFFFFFF, 111}));
  CHECK(output_of({"tokenize", "--decode", ids}) == "No");
  write_text(ids, npy_of({}));
  CHECK(output_of({"tokenize", "--decode", ids}).empty());
}

TEST_CASE("tokenize says what it does not take") {
  const TemporaryDirectory directory;
  const auto path = [&](const std::string& name) { return (directory / name).string(); };
  const std::string text = path("text"), ids = path("ids.npy"), bad = path("bad");
  write_text(text, "a");
  write_text(ids, npy_of({1, 2}));
  write_text(bad, "ab\xC3(");
  std::filesystem::create_directory(directory / "empty");
  std::filesystem::create_directory(directory / "m");
  std::filesystem::copy(tokenizers_in_use / "gpt2/tokenizer.json", directory / "m");
  json odd = read_json(tokenizers_in_use / "gpt2/tokenizer.json");
  odd["pre_tokenizer"]["type"] = "Whitespace";
  write_text(path("odd.json"), odd.dump());
  write_text(path("negative.npy"), npy_of({5, -7}));
  const struct {
    std::vector<std::string> arguments;
    std::string says;
  } cases[] = {
      {{}, "give either --text FILE or --decode FILE"},
      {{"--text", text, "--decode", ids}, "excludes"},
      {{"--pair", text}, "requires --text"},
      {{"--decode", ids, "--plain"}, "requires --text"},
      {{"--text", text, "--skip-special"}, "requires --decode"},
      {{"--text", bad}, bad + ": not UTF-8 at byte 2"},
      {{"--text", text, "--pair", bad}, bad + ": not UTF-8 at byte 2"},
      {{"--text", path("none")}, path("none") + ": cannot open the file"},
      {{"--text", path("m")}, "this is a directory"},
      {{"--text", text, "--out", path("ids.txt")}, "does not end in .npy"},
      {{"--text", text, "--out", path("none/ids.npy")}, "there is no such directory"},
      {{"--decode", ids, "--out", ids}, "is a file that is read"},
      {{"--decode", text}, "1 bytes are not a whole number of int32"},
      {{"--decode", path("negative.npy")}, "token 1 is -7, below 0"},
      {{path("empty"), "--text", text}, path("empty") + " has no tokenizer.json"},
      {{path("none"), "--text", text}, path("none")},
      {{path("odd.json"), "--text", text},
       path("odd.json") + ": the pre_tokenizer \"Whitespace\" is not known"},
      {{path("m"), "--decode", ids, "--out", path("m/tokenizer.json")}, "is a file"},
  };
  for (const auto& c : cases) {
    std::vector<std::string> words{"tokenize"};
    words.insert(words.end(), c.arguments.begin(), c.arguments.end());
    CHECK_THAT(refused_line(words), ContainsSubstring(c.says));
  }
  CHECK(read_text(ids) == npy_of({1, 2}));
}

TEST_CASE("a model's tokenizer.json is what other commands read text with") {
  const TemporaryDirectory directory;
  const std::string m = (directory / "m").string(), q = (directory / "q").string();
  const std::string report = (directory / "r.json").string();
  TinyModel({.vocab = 600}).write(m);
  std::filesystem::copy(tokenizers_in_use / "llama2/tokenizer.json", m);
  const auto predictions = [&](const std::string& model) {
    (void)output_of({"eval", model, "--text", m + "/eval.txt", "--threads", "1", "--no-speed",
                     "--report", report});
    return read_json(report)["predictions"].get<int>();
  };
  // One less than the tokens without BOS, which a window's first is; the rest is no whole window.
  const std::string ids = output_of({"tokenize", m, "--text", m + "/eval.txt", "--plain"});
  const auto count = std::count(ids.begin(), ids.end(), '\n');
  CHECK(predictions(m) <= count);
  CHECK(predictions(m) > count - 64);

  const Outcome generated =
      run_pare({"generate", m, "--prompt", "And it came", "--length", "8", "--threads", "1"});
  CAPTURE(generated.err);
  CHECK(generated.status == 0);
  CHECK(generated.out.starts_with("And it came"));
  CHECK(tokenizer::find_invalid_utf8(generated.out) == std::string::npos);

  // The tokenizer goes with the quantized model.
  REQUIRE(run_pare({"quantize", m, "--out", q, "--method", "gptq", "--threads", "1"}).status == 0);
  CHECK(predictions(q) == predictions(m));

  SECTION("a tokenizer.model beside it is not looked at") {
    const int before = predictions(m);
    write_text(m + "/tokenizer.model", "none");
    CHECK(predictions(m) == before);
  }
  SECTION("a vocabulary larger than the model's") {
    json larger = read_json(tokenizers_in_use / "llama2/tokenizer.json");
    for (int id = 591; id < 600; ++id)
      larger["added_tokens"].push_back({{"id", id}, {"content", "unused" + std::to_string(id)}});
    larger["added_tokens"].push_back({{"id", 600}, {"content", "the "}, {"special", false}});
    write_text(m + "/tokenizer.json", larger.dump());
    CHECK_THAT(refused_line({"eval", m, "--no-speed"}),
               ContainsSubstring("token 600, outside the model's vocabulary of 600"));
  }
  SECTION("one that is not understood") {
    write_text(m + "/tokenizer.json", "{\"model\": {\"type\": \"WordLevel\"}}");
    const std::string message = refused_line({"eval", m, "--no-speed"});
    CHECK_THAT(message,
               ContainsSubstring("m/tokenizer.json: the model \"WordLevel\" is not known"));
    CHECK_THAT(message, ContainsSubstring("--tokens"));
    // Where there is another it is tried, and that is said.
    write_text(m + "/tokenizer.model", "none");
    const Outcome outcome = run_pare({"eval", m, "--no-speed"});
    CHECK(outcome.error_lines() == 2);
    CHECK_THAT(outcome.err, ContainsSubstring("note: ") &&
                                ContainsSubstring("tokenizer.model is used") &&
                                ContainsSubstring("m/tokenizer.model: "));
  }
}
#endif
