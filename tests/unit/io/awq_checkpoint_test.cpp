#include "pare/io/awq_checkpoint.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/stored_layers.hpp"

using namespace pare;
using Catch::Matchers::Contains;

TEST_CASE("a word holds eight outputs in AWQ's order", "[awq_checkpoint]") {
  QuantizedMatrix<UInt<4>> q(16, 3, -1, ScaleType::f16);
  for (Index n = 0; n < 16; ++n) {
    q.codes()(n, 1) = static_cast<std::uint8_t>(n % 8);
    q.parameters()(n, 0) = {1.0f, static_cast<int>(n)};
  }
  const auto tensors = awq_tensors("l", q);
  REQUIRE(tensors.size() == 3);
  CHECK(tensors[0].name == "l.qweight");
  CHECK(tensors[0].shape == std::vector<Index>{3, 2});
  CHECK(test::words_of(tensors[0]) ==
        std::vector<std::uint32_t>{0, 0, 0x75316420u, 0x75316420u, 0, 0});
  CHECK(tensors[1].name == "l.qzeros");
  CHECK(test::words_of(tensors[1]) == std::vector<std::uint32_t>{0x75316420u, 0xFDB9ECA8u});
  CHECK(tensors[2].name == "l.scales");
  CHECK(tensors[2].dtype == DType::F16);
  CHECK(tensors[2].shape == std::vector<Index>{1, 16});
}

TEST_CASE("an AWQ layer comes back bit for bit", "[awq_checkpoint]") {
  struct Case {
    Index out, in, group_size;
    ScaleType type;
  };
  std::uint64_t seed = 1;
  for (const Case& c : {Case{8, 1, -1, ScaleType::f16}, Case{24, 34, 17, ScaleType::f32},
                        Case{64, 128, 32, ScaleType::f16}, Case{8, 33, -1, ScaleType::bf16}}) {
    CAPTURE(c.out, c.in, c.group_size);
    const auto q = test::random_quantized<UInt<4>>(c.out, c.in, c.group_size, c.type, seed++);
    const test::StoredTensors source(awq_tensors("l", AnyQuantizedMatrix(q)));
    CHECK(read_awq_layer(source, "l", {.group_size = c.group_size}) == q);
  }
  const auto row = test::random_quantized<UInt<4>>(8, 64, -1, ScaleType::f16, seed);
  const test::StoredTensors source(awq_tensors("l", row));
  CHECK(read_awq_layer(source, "l", {.group_size = 128}) == row);
}

TEST_CASE("what AWQ files cannot hold is refused", "[awq_checkpoint]") {
  const auto make = [](Index out, Index in, Index group_size) {
    return QuantizedMatrix<UInt<4>>(out, in, group_size, ScaleType::f16);
  };
  CHECK_THROWS_AS(awq_tensors("l", make(9, 32, -1)), ShapeError);
  CHECK_THROWS_WITH(awq_tensors("l", make(8, 33, 32)),
                    "layer \"l\": weight of shape [8, 33] cannot be an AWQ checkpoint: rows must "
                    "be a multiple of 8, columns of the group size 32");
  CHECK_THROWS_AS(awq_tensors("l", make(0, 32, -1)), ShapeError);
  CHECK_THROWS_AS(awq_tensors("l", make(8, 0, -1)), ShapeError);
  const auto permuted = test::random_quantized<UInt<4>>(8, 32, 8, ScaleType::f16, 1, true);
  CHECK_THROWS_AS(awq_tensors("l", permuted), ArgumentError);
  CHECK_THROWS_WITH(awq_tensors("l", permuted), Contains("cannot hold the group index"));
  const AnyQuantizedMatrix int4 = QuantizedMatrix<Int<4>>(8, 32, -1, ScaleType::f16);
  CHECK_THROWS_WITH(awq_tensors("l", int4),
                    "layer \"l\": int4 cannot be an AWQ checkpoint; uint4 can");
}

TEST_CASE("a damaged AWQ layer is refused with its reason", "[awq_checkpoint]") {
  const auto q = test::random_quantized<UInt<4>>(16, 64, 32, ScaleType::f16, 2);
  using Tensors = std::vector<NamedTensor>;
  struct Case {
    std::string reason;
    void (*damage)(Tensors&, AwqConfig&);
  };
  const Case cases[] = {
      {"no tensor named \"l.qweight\"", [](Tensors& t, AwqConfig&) { t[0].name = "x"; }},
      {"no tensor named \"l.scales\"", [](Tensors& t, AwqConfig&) { t[2].name = "x"; }},
      {"qweight is F32", [](Tensors& t, AwqConfig&) { t[0].dtype = DType::F32; }},
      {"rank 2 is needed", [](Tensors& t, AwqConfig&) { t[0].shape = {128}; }},
      {"it is empty",
       [](Tensors& t, AwqConfig&) {
         t[0].shape = {0, 9}, t[0].data.clear();
       }},
      {"no multiple of the group size 24", [](Tensors&, AwqConfig& c) { c.group_size = 24; }},
      {"qzeros has shape [2, 2], but [4, 2]", [](Tensors&, AwqConfig& c) { c.group_size = 16; }},
      {"group size 0", [](Tensors&, AwqConfig& c) { c.group_size = 0; }},
      {"scales are U16", [](Tensors& t, AwqConfig&) { t[2].dtype = DType::U16; }},
      {"scales has shape [32]", [](Tensors& t, AwqConfig&) { t[2].shape = {32}; }},
      {"is not a finite number",
       [](Tensors& t, AwqConfig&) { t[2].data[0] = t[2].data[1] = std::byte{0xff}; }},
  };
  for (const Case& bad : cases) {
    CAPTURE(bad.reason);
    Tensors tensors = awq_tensors("l", q);
    AwqConfig config{.group_size = 32};
    bad.damage(tensors, config);
    const test::StoredTensors source(tensors);
    CHECK_THROWS_AS(read_awq_layer(source, "l", config), FormatError);
    CHECK_THROWS_WITH(read_awq_layer(source, "l", config), Contains(bad.reason));
  }
}

TEST_CASE("negative and zero scales are read from AWQ files and written again",
          "[awq_checkpoint]") {
  auto q = test::random_quantized<UInt<4>>(16, 64, 32, ScaleType::f16, 2);
  q.parameters()(3, 0).scale *= -1.0f;
  q.parameters()(5, 1).scale = 0.0f;
  const test::StoredTensors source(awq_tensors("l", q));
  const auto read = read_awq_layer(source, "l", {.group_size = 32});
  CHECK(read == q);
  CHECK(read.value(5, 40) == 0.0f);
  CHECK(read.parameters()(3, 0).scale < 0.0f);
}
