#include <string>

#include "pare/io/json.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"

namespace {

using namespace pare::test;

/// The character by which a byte-level tokenizer.json spells a byte, as UTF-8: the byte's own
/// character where that is printed, else one of those from 256 on, in order.
std::string spelling(int byte) {
  const auto printed = [](int b) { return (b > 32 && b < 127) || (b > 160 && b != 173); };
  int character = byte;
  if (!printed(byte)) {
    character = 256;
    for (int b = 0; b < byte; ++b) character += printed(b) ? 0 : 1;
  }
  if (character < 128) return {static_cast<char>(character)};
  return {static_cast<char>(0xc0 | character >> 6), static_cast<char>(0x80 | (character & 0x3f))};
}

}  // namespace

TEST_CASE("the demo model's tokenizer gives byte b the id b and adds no token") {
  const auto tokenizer = pare::read_json(PARE_DEMO_MODEL_DIR "/tokenizer.json");
  const auto& vocabulary = tokenizer["model"]["vocab"];
  CHECK(vocabulary.size() == 256);
  for (int byte = 0; byte < 256; ++byte) {
    CAPTURE(byte);
    CHECK(vocabulary.value(spelling(byte), -1) == byte);
  }
  CHECK(tokenizer["model"]["merges"].empty());
  CHECK(tokenizer["added_tokens"].empty());
  for (const char* none : {"normalizer", "post_processor"}) CHECK(tokenizer[none].is_null());
  for (const char* part : {"pre_tokenizer", "decoder"}) {
    CHECK(tokenizer[part]["type"] == "ByteLevel");
    CHECK(tokenizer[part]["add_prefix_space"] == false);
    CHECK(tokenizer[part]["use_regex"] == false);
  }
}

TEST_CASE("what is made of the demo model carries its tokenizer") {
  const TemporaryDirectory directory;
  const std::string quantized = (directory / "q").string(), packed = (directory / "p").string();
  REQUIRE(run_pare({"quantize", "--out", quantized}).status == 0);
  REQUIRE(run_pare({"pack", quantized, "--out", packed}).status == 0);
  for (const std::string& model : {quantized, packed})
    for (const char* name : {"/tokenizer.json", "/tokenizer_config.json"}) {
      CAPTURE(model, name);
      CHECK(read_text(model + name) == read_text(PARE_DEMO_MODEL_DIR + std::string(name)));
    }
}
