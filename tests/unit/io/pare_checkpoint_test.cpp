#include "pare/io/pare_checkpoint.hpp"

#include <string>
#include <vector>

#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_writer.hpp"
#include "pare/quantization/quantize.hpp"
#include "support/catch.hpp"
#include "support/own_formats.hpp"
#include "support/random_matrix.hpp"
#include "support/stored_layers.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using Catch::Matchers::Contains;

TEST_CASE("every format, shape and scale type comes back bit for bit", "[pare_checkpoint]") {
  struct Case {
    Index rows, cols, group_size;
    ScaleType type;
    bool group_index;
  };
  const Case cases[] = {
      {1, 1, -1, ScaleType::f32, false},   {3, 17, 5, ScaleType::f16, false},
      {5, 33, 32, ScaleType::bf16, false}, {4, 64, 16, ScaleType::f16, true},
      {7, 50, 16, ScaleType::f32, true},   {2, 9, 1, ScaleType::bf16, false},
      {0, 12, 4, ScaleType::f16, false},   {6, 0, -1, ScaleType::f32, false},
  };
  std::uint64_t seed = 1;
  for (const Case& c : cases)
    for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
      CAPTURE(F::name, c.rows, c.cols, c.group_size);
      const auto q =
          test::random_quantized<F>(c.rows, c.cols, c.group_size, c.type, seed++, c.group_index);
      REQUIRE(q.group_index().empty() == !c.group_index);
      const AnyQuantizedMatrix any = q;
      const test::StoredTensors tensors(pare_tensors("l", any));
      const auto layer = parse_json(pare_layer_config(any).dump());
      CHECK(read_pare_layer(tensors, "l", layer) == any);
    });
}

TEST_CASE("blocks of more than a row are stored once", "[pare_checkpoint]") {
  const Matrix<float> w = test::random_matrix(7, 12);
  struct Case {
    BlockShape blocks;
    std::vector<Index> scales;
  };
  for (const Case& c : {Case{BlockShape::tensor(), {1, 1}}, Case{BlockShape::tiles(2, 5), {4, 3}},
                        Case{BlockShape::tiles(-1, 4), {1, 3}}, Case{BlockShape::runs(16), {1, 6}},
                        Case{BlockShape::runs(-1), {1, 1}}})
    for_each_type(TypeList<Int<4>, UInt<3>, NF4, test::Levels, test::TwoLevels>{},
                  [&]<class F>(TypeTag<F>) {
                    const auto q = quantize<F>(w, {.blocks = c.blocks});
                    const auto tensors = pare_tensors("l", q);
                    CHECK(tensors[1].name.starts_with("l.scale"));
                    CHECK(tensors[1].shape == c.scales);
                    const auto layer = parse_json(pare_layer_config(q).dump());
                    const test::StoredTensors stored(tensors);
                    CHECK(read_pare_layer<F>(stored, "l", layer) == q);
                  });

  // What differs inside a block has no place in the file; what the file says must be possible.
  auto q = quantize<Int<4>>(w, {.blocks = BlockShape::tiles(2, 5)});
  const test::StoredTensors tensors(pare_tensors("l", q));
  nlohmann::json layer = pare_layer_config(q);
  for (const int rows : {0, 1, 3, 8, -1}) {
    layer["block_rows"] = rows;
    CHECK_THROWS_AS(read_pare_layer(tensors, "l", layer), FormatError);
  }
  layer["block_rows"] = 2;
  layer["flat"] = true;
  CHECK_THROWS_WITH(read_pare_layer(tensors, "l", layer), Contains("runs"));
  q.parameters()(3, 1).scale *= 2.0f;
  CHECK_THROWS_WITH(pare_tensors("l", q), Contains("group 1 of row 3"));
}

TEST_CASE("codes are dense bit streams, first code in the lowest bits", "[pare_checkpoint]") {
  QuantizedMatrix<UInt<3>> q(1, 6, 3, ScaleType::f16);
  for (Index j = 0; j < 6; ++j) q.codes()(0, j) = static_cast<std::uint8_t>(j + 1);
  q.parameters()(0, 0) = {1.0f, 5};
  q.parameters()(0, 1) = {0.5f, 3};
  const auto tensors = pare_tensors("l", q);
  REQUIRE(tensors.size() == 3);
  // 1 | 2 << 3 | 3 << 6 | 4 << 9 | 5 << 12 | 6 << 15
  const auto byte = [](int value) { return static_cast<std::byte>(value); };
  CHECK(tensors[0].name == "l.codes");
  CHECK(tensors[0].shape == std::vector<Index>{1, 3});
  CHECK(tensors[0].data == std::vector{byte(0xd1), byte(0x58), byte(0x03)});
  CHECK(tensors[1].name == "l.scales");
  CHECK(tensors[1].dtype == DType::F16);
  CHECK(tensors[1].data == std::vector{byte(0x00), byte(0x3c), byte(0x00), byte(0x38)});
  CHECK(tensors[2].name == "l.zero_points");
  CHECK(tensors[2].data == std::vector{byte(5 | 3 << 3)});
  // All together cost what the matrix says it costs, up to the padding of rows.
  CHECK(q.bytes() == 3 + 5);
}

TEST_CASE("a layer survives a file together with the caller's own fields", "[pare_checkpoint]") {
  const test::TemporaryDirectory directory;
  const AnyQuantizedMatrix q = test::random_quantized<NF4>(5, 40, 16, ScaleType::bf16, 3);
  write_safetensors(directory / "m", pare_tensors("a.b", q));
  nlohmann::json layer = pare_layer_config(q);
  layer["activations"] = {{"scale", 0.5}};
  const nlohmann::json config = parse_json(pare_config({{"a.b", layer}}).dump());
  CHECK(config["quant_method"] == "pare");

  const auto reader = SafetensorsReader::open(directory / "m");
  CHECK(read_pare_layer(reader, "a.b", pare_layers(config).at("a.b")) == q);
}

TEST_CASE("other settings are refused", "[pare_checkpoint]") {
  CHECK_THROWS_WITH(pare_layers({{"quant_method", "gptq"}}),
                    "quant_method is \"gptq\", not \"pare\"");
  CHECK_THROWS_WITH(pare_layers({{"quant_method", "pare"}}), Contains("missing, but 1 can be"));
  CHECK_THROWS_WITH(pare_layers({{"quant_method", "pare"}, {"version", 2}}), Contains("is 2, but"));
  CHECK_THROWS_WITH(pare_layers({{"quant_method", "pare"}, {"version", 1}}),
                    Contains("\"layers\" is missing"));
}

TEST_CASE("codes and zero points outside their bits are not written", "[pare_checkpoint]") {
  QuantizedMatrix<Int<4>> q(2, 3, -1, ScaleType::f32);
  q.codes()(1, 2) = 8;
  CHECK_THROWS_AS(pare_tensors("l", q), ArgumentError);
  CHECK_THROWS_WITH(pare_tensors("l", q), "code 8 at [1, 2] is no int4");
  QuantizedMatrix<UInt<4>> u(1, 3, -1, ScaleType::f32);
  u.parameters()(0, 0).zero_point = 16;
  CHECK_THROWS_WITH(pare_tensors("l", u), Contains("zero point of group [0, 0]"));
}

TEST_CASE("a stored number without a meaning is not read", "[pare_checkpoint]") {
  const QuantizedMatrix<Ternary> q(2, 4, -1, ScaleType::f32);
  std::vector<NamedTensor> tensors = pare_tensors("l", q);
  CHECK(tensors[0].data == std::vector<std::byte>(2, std::byte{0b01'01'01'01}));
  tensors[0].data[1] = std::byte{0b01'11'01'01};
  const test::StoredTensors source(tensors);
  CHECK_THROWS_AS(read_pare_layer(source, "l", pare_layer_config(q)), FormatError);
  CHECK_THROWS_WITH(read_pare_layer(source, "l", pare_layer_config(q)),
                    Contains("code 3 stored at [1, 2] is no ternary"));
}

TEST_CASE("a damaged layer is refused with its reason", "[pare_checkpoint]") {
  const auto q = test::random_quantized<UInt<3>>(4, 18, 6, ScaleType::f16, 9, true);
  const std::vector<NamedTensor> good = pare_tensors("l", q);
  const nlohmann::json config = pare_layer_config(q);
  struct Case {
    std::string reason;
    void (*damage)(std::vector<NamedTensor>&, nlohmann::json&);
  };
  using Tensors = std::vector<NamedTensor>;
  using Json = nlohmann::json;
  const Case cases[] = {
      {"no tensor named \"l.codes\"", [](Tensors& t, Json&) { t[0].name = "x"; }},
      {"no tensor named \"l.scales\"", [](Tensors& t, Json&) { t[1].name = "x"; }},
      {"zero_points are missing", [](Tensors& t, Json&) { t[2].name = "x"; }},
      {"codes is I8, but U8 is needed", [](Tensors& t, Json&) { t[0].dtype = DType::I8; }},
      {"codes has shape [4, 7], but [4, 6]",
       [](Tensors&, Json& c) { c["cols"] = 16, c["group_size"] = 6; }},
      {"codes has shape [4, 7], but [5, 7]", [](Tensors&, Json& c) { c["rows"] = 5; }},
      {"codes of row 3 end with bits that are not zero",
       [](Tensors& t, Json&) { t[0].data.back() |= std::byte{0x80}; }},
      {"zero_points of row 0 end with bits that are not zero",
       [](Tensors& t, Json&) { t[2].data[1] |= std::byte{0x02}; }},
      {"scales are I16", [](Tensors& t, Json&) { t[1].dtype = DType::I16; }},
      {"scales has shape [4, 3], but [4, 9]", [](Tensors&, Json& c) { c["group_size"] = 2; }},
      {"scale inf at [0, 0]",
       [](Tensors& t, Json&) { t[1].data[0] = std::byte{0}, t[1].data[1] = std::byte{0x7c}; }},
      {"scale nan at [0, 0]", [](Tensors& t, Json&) { t[1].data[1] = std::byte{0x7e}; }},
      {"column 0 is in group 77 of 3", [](Tensors& t, Json&) { t[3].data[0] = std::byte{77}; }},
      {"columns instead of 6",
       [](Tensors& t, Json&) { std::fill(t[3].data.begin(), t[3].data.end(), std::byte{0}); }},
      {"the elements are F32, but I32", [](Tensors& t, Json&) { t[3].dtype = DType::F32; }},
      {"group_index has shape [18, 1]",
       [](Tensors& t, Json&) {
         t[3].shape = {18, 1};
       }},
      {"no format is named \"int9\"", [](Tensors&, Json& c) { c["format"] = "int9"; }},
      {"zero_points are of no use with format int3",
       [](Tensors&, Json& c) { c["format"] = "int3"; }},
      {"\"format\" is not a string", [](Tensors&, Json& c) { c["format"] = 4; }},
      {"\"cols\" is missing", [](Tensors&, Json& c) { c.erase("cols"); }},
      {"group size 0", [](Tensors&, Json& c) { c["group_size"] = 0; }},
      {"larger than the row", [](Tensors&, Json& c) { c["group_size"] = 19; }},
      {"shape [-4, 18] is absurd", [](Tensors&, Json& c) { c["rows"] = -4; }},
      {"is absurd", [](Tensors&, Json& c) { c["cols"] = std::int64_t{1} << 60; }},
      {"a JSON object is needed", [](Tensors&, Json& c) { c = Json::array(); }},
  };
  for (const Case& bad : cases) {
    CAPTURE(bad.reason);
    std::vector<NamedTensor> tensors = good;
    nlohmann::json layer = config;
    bad.damage(tensors, layer);
    const test::StoredTensors source(tensors);
    CHECK_THROWS_AS(read_pare_layer(source, "l", layer), FormatError);
    CHECK_THROWS_WITH(read_pare_layer(source, "l", layer), Contains(bad.reason));
  }
}
