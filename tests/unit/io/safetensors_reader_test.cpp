#include "pare/io/safetensors_reader.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using Catch::Matchers::Contains;

namespace {

std::string length_bytes(std::uint64_t n) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(n >> shift & 0xff);
  return bytes;
}

std::string file_of(const std::string& json, std::size_t data_bytes = 0) {
  return length_bytes(json.size()) + json + std::string(data_bytes, '\0');
}

SafetensorsReader reader_of(const std::string& file) {
  return SafetensorsReader::from_bytes(std::as_bytes(std::span(file)), "f");
}

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& range) {
  return "\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + range;
}

}  // namespace

TEST_CASE("the smallest file of the fact sheet reads back", "[safetensors_reader]") {
  std::string json = R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  REQUIRE(json.size() == 54);
  json += "  ";
  std::string file = file_of(json);
  const float values[] = {1.5f, -2.0f};
  file.append(reinterpret_cast<const char*>(values), sizeof values);
  REQUIRE(file.size() == 72);

  const auto reader = reader_of(file);
  CHECK(reader.names() == std::vector<std::string>{"t"});
  CHECK(reader.metadata().empty());
  CHECK(reader.contains("t"));
  CHECK_FALSE(reader.contains("u"));
  CHECK(reader.info("t").dtype == DType::F32);
  CHECK(reader.info("t").shape == std::vector<Index>{2});
  const Vector<float> read = reader.read_vector("t");
  CHECK(read[0] == 1.5f);
  CHECK(read[1] == -2.0f);
}

TEST_CASE("tensors come in the order of their data, whatever the header's order",
          "[safetensors_reader]") {
  const std::string file = file_of(
      "{\"b\":{" + tensor("U8", "[2,1]", "[3,5]") + "},\"a\":{" + tensor("U8", "[3]", "[0,3]") +
          "},\"__metadata__\":{\"k\":\"v\"},\"empty\":{" + tensor("F64", "[4,0]", "[3,3]") +
          "},\"scalar\":{" + tensor("I16", "[]", "[5,7]") + "}}",
      7);
  const auto reader = reader_of(file);
  CHECK(reader.names() == std::vector<std::string>{"a", "empty", "b", "scalar"});
  CHECK(reader.metadata().at("k") == "v");
  CHECK(reader.info("scalar").shape.empty());
  CHECK(reader.read_as<std::int16_t>("scalar") == std::vector<std::int16_t>{0});
  CHECK(reader.read_matrix("empty").shape() == Shape<2>{4, 0});
  CHECK(reader.read_as<std::uint8_t>("b").size() == 2);
}

TEST_CASE("float types convert to float32 at any alignment", "[safetensors_reader]") {
  // One byte in front puts every other tensor at an odd offset.
  std::string file = file_of("{\"a\":{" + tensor("U8", "[1]", "[0,1]") + "},\"f64\":{" +
                                 tensor("F64", "[1,2]", "[1,17]") + "},\"f16\":{" +
                                 tensor("F16", "[1,2]", "[17,21]") + "},\"bf16\":{" +
                                 tensor("BF16", "[1,2]", "[21,25]") + "},\"i64\":{" +
                                 tensor("I64", "[2]", "[25,41]") + "}}",
                             1);
  const double doubles[] = {0.1, -1e300};
  const std::uint16_t halves[] = {0x3c00, 0xfbff}, brains[] = {0x3f80, 0x7f80};
  const std::int64_t integers[] = {std::numeric_limits<std::int64_t>::min(), 42};
  file.append(reinterpret_cast<const char*>(doubles), sizeof doubles);
  file.append(reinterpret_cast<const char*>(halves), sizeof halves);
  file.append(reinterpret_cast<const char*>(brains), sizeof brains);
  file.append(reinterpret_cast<const char*>(integers), sizeof integers);

  const auto reader = reader_of(file);
  CHECK(reader.read_matrix("f64")(0, 0) == 0.1f);
  CHECK(reader.read_matrix("f64")(0, 1) == -std::numeric_limits<float>::infinity());
  CHECK(reader.read_matrix("f16")(0, 0) == 1.0f);
  CHECK(reader.read_matrix("f16")(0, 1) == -65504.0f);
  CHECK(reader.read_matrix("bf16")(0, 0) == 1.0f);
  CHECK(std::isinf(reader.read_matrix("bf16")(0, 1)));
  CHECK(reader.read_as<std::int64_t>("i64") ==
        std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::min(), 42});
}

TEST_CASE("reading as something else names the tensor", "[safetensors_reader]") {
  const std::string file = file_of("{\"a\":{" + tensor("I32", "[2]", "[0,8]") + "}}", 8);
  const auto reader = reader_of(file);
  CHECK_THROWS_WITH(reader.info("b"), "f: no tensor named \"b\"");
  CHECK_THROWS_AS(reader.info("b"), FormatError);
  CHECK_THROWS_WITH(reader.read_vector("a"),
                    "f: tensor \"a\": the elements are I32, but F32, F16, BF16 or F64 is needed");
  CHECK_THROWS_WITH(reader.read_matrix("a"),
                    "f: tensor \"a\": the shape is [2], but rank 2 is needed");
  CHECK_THROWS_AS(reader.read_matrix("a"), ShapeError);
  CHECK_THROWS_WITH(reader.read_as<std::uint32_t>("a"),
                    "f: tensor \"a\": the elements are I32, but U32 is needed");
}

TEST_CASE("a malformed file is refused with its reason", "[safetensors_reader]") {
  struct Case {
    std::string file;
    std::string reason;
  };
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& range,
                      std::size_t data) {
    return file_of("{\"t\":{" + tensor(dtype, shape, range) + "}}", data);
  };
  const auto head = [](const std::string& json) { return file_of(json, 0); };
  const std::string deep(100'000, '[');
  const Case cases[] = {
      {"", "this is an empty file"},
      {"1234567", "this is a text"},
      {length_bytes(0), "length 0 at offset 0 is no JSON"},
      {length_bytes(3) + "{}", "reaches beyond the file of 10 bytes"},
      {length_bytes(100'000'001) + "{}", "exceeds 100000000"},
      {length_bytes(~std::uint64_t{0}) + "{}", "length 18446744073709551615 at offset 0 exceeds"},
      {head(" {}"), "does not begin with '{' at offset 8"},
      {head("[]"), "does not begin with '{' at offset 8"},
      {head("{"), "not valid JSON at offset 9"},
      {head("{\"t\":}"), "not valid JSON at offset 13"},
      {head("{} x"), "not valid JSON at offset 11"},
      {head(std::string("{}\0 ", 4)), "not valid JSON at offset 10"},
      {head("{\"\xff\":1}"), "not valid UTF-8 at offset 10"},
      {head("{\"\xc0\xaf\":1}"), "not valid UTF-8 at offset"},
      {head("{\"t\":" + deep), "\"t\": an array is out of place"},
      {head("{\"t\":1}"), "\"t\": the number 1 is out of place"},
      {head("{\"t\":\"x\"}"), "\"t\": a string is out of place"},
      {head("{\"t\":null}"), "\"t\": null is out of place"},
      {head("{\"t\":{}}"), "\"t\": the field dtype is missing"},
      {head(R"({"t":{"dtype":"U8","shape":[0]}})"), "\"t\": the field data_offsets is missing"},
      {head(R"({"t":{"dtype":"U8","dtype":"U8"}})"), "\"t\": duplicate field \"dtype\""},
      {head(R"({"t":{"size":1}})"), "\"t\": unknown field \"size\""},
      {head(R"({"t":{"dtype":7}})"), "\"t\": the number 7 is out of place"},
      {head(R"({"t":{"shape":["2"]}})"), "\"t\": a string is out of place"},
      {head(R"({"t":{"shape":[[2]]}})"), "\"t\": an array is out of place"},
      {head(R"({"t":{"shape":[{}]}})"), "\"t\": an object is out of place"},
      {head(R"({"t":{"shape":[true]}})"), "\"t\": a boolean is out of place"},
      {head(R"({"__metadata__":{"a":1}})"), "\"__metadata__\": the number 1 is out of place"},
      {head(R"({"__metadata__":{"a":"1","a":"2"}})"), "duplicate key \"a\""},
      {head(R"({"__metadata__":{},"__metadata__":{}})"), "duplicate name \"__metadata__\""},
      {file_of("{\"t\":{" + tensor("U8", "[1]", "[0,1]") + "},\"t\":{" +
                   tensor("U8", "[1]", "[1,2]") + "}}",
               2),
       "duplicate name \"t\""},
      {one("F33", "[1]", "[0,4]", 4), "\"t\": unknown dtype \"F33\""},
      {one("f32", "[1]", "[0,4]", 4), "\"t\": unknown dtype \"f32\""},
      {one("U8", "[-1]", "[0,1]", 1), "\"t\": a number is negative"},
      {one("U8", "[1.0]", "[0,1]", 1), "\"t\": a number is not an integer"},
      {one("U8", "[1e1]", "[0,1]", 1), "\"t\": a number is not an integer"},
      {one("U8", "[18446744073709551616]", "[0,1]", 1), "\"t\": a number is not an integer"},
      {one("U8", "[9223372036854775808]", "[0,1]", 1),
       "\"t\": extent 9223372036854775808 is too large"},
      {one("U8", "[1]", "[0]", 1), "\"t\": data_offsets needs two numbers"},
      {one("U8", "[1]", "[0,1,2]", 1), "\"t\": the number 2 is out of place"},
      {one("U8", "[4294967296,4294967296]", "[0,1]", 1), "whose size is too large"},
      {one("F32", "[4611686018427387904]", "[0,0]", 0), "whose size is too large"},
      {one("F4", "[3]", "[0,2]", 2), "not whole bytes"},
      {one("F32", "[2]", "[0,4]", 4), "takes 8 bytes, but has 4"},
      {one("F32", "[2]", "[8,0]", 8), "ends before it begins"},
      {one("U8", "[2]", "[0,2]", 1), "but the file holds 1 bytes of data: it is truncated"},
      {one("U8", "[1]", "[0,18446744073709551615]", 1), "ends at 18446744073709551615"},
      {one("U8", "[1]", "[0,1]", 2), "the tensors end at data offset 1, but the file holds 2"},
      {one("U8", "[1]", "[1,2]", 2), "leaves a hole of 1 bytes before it"},
      {file_of("{\"a\":{" + tensor("U8", "[2]", "[0,2]") + "},\"b\":{" +
                   tensor("U8", "[2]", "[1,3]") + "}}",
               3),
       "tensor \"b\" at data offset 1 overlaps"},
      {file_of("{\"a\":{" + tensor("U8", "[2]", "[0,2]") + "},\"b\":{" +
                   tensor("U8", "[2]", "[0,2]") + "}}",
               2),
       "at data offset 0 overlaps"},
      {file_of("{}", 1), "the tensors end at data offset 0"},
  };
  for (const Case& broken : cases) {
    CAPTURE(broken.file.substr(0, 200), broken.reason);
    CHECK_THROWS_AS(reader_of(broken.file), FormatError);
    CHECK_THROWS_WITH(reader_of(broken.file), Contains(broken.reason));
  }
}

TEST_CASE("names in messages stay one short line", "[safetensors_reader]") {
  const std::string file = file_of("{\"a\\nb" + std::string(5000, 'x') + "\":1}");
  try {
    (void)reader_of(file);
    FAIL("no error");
  } catch (const FormatError& e) {
    const std::string message = e.what();
    CHECK(message.find('\n') == std::string::npos);
    CHECK(message.size() < 300);
  }
}

TEST_CASE("a header that other readers accept is accepted", "[safetensors_reader]") {
  for (const std::string json :
       {"{}", "{}      ", "{ \"__metadata__\" : null }", "{\"__metadata__\":{}}",
        "{\"\":{\"data_offsets\":[0,0],\"shape\":[0,4611686018427387904],\"dtype\":\"F4\"}}",
        "{\"\\u00e9\":{\"dtype\":\"BOOL\",\"shape\":[0],\"data_offsets\":[0,0]}}"})
    CHECK_NOTHROW(reader_of(file_of(json)));
}

TEST_CASE("real files open and their pages can be dropped", "[safetensors_reader]") {
  auto reader = SafetensorsReader::open(PARE_DEMO_MODEL_DIR "/model.safetensors");
  CHECK(reader.names().front() == "model.embed_tokens.weight");
  const Matrix<float> before = reader.read_matrix("lm_head.weight");
  CHECK(before.shape() == Shape<2>{256, 256});
  reader.drop_pages();
  CHECK(reader.read_matrix("lm_head.weight") == before);

  const SafetensorsReader moved = std::move(reader);
  CHECK(moved.read_matrix("lm_head.weight") == before);

  const auto oracle = SafetensorsReader::open(PARE_TEST_DATA_DIR "/gptq.safetensors");
  CHECK(oracle.metadata().at("rows") == "40");
  CHECK(oracle.read_matrix("activations").shape() == Shape<2>{384, 256});
}

TEST_CASE("a path that cannot be read is an IoError naming it", "[safetensors_reader]") {
  const test::TemporaryDirectory directory;
  CHECK_THROWS_AS(SafetensorsReader::open(directory / "none"), IoError);
  CHECK_THROWS_WITH(SafetensorsReader::open(directory / "none"),
                    Contains("none: cannot open: No such file"));
  CHECK_THROWS_WITH(SafetensorsReader::open(directory.path()),
                    Contains("this is a directory, not a file"));
  test::write_text(directory / "empty", "");
  CHECK_THROWS_WITH(SafetensorsReader::open(directory / "empty"),
                    Contains("empty: this is an empty file, not a safetensors file"));
}
