#include "pare/io/gptq_checkpoint.hpp"

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/stored_layers.hpp"

using namespace pare;
using Catch::Matchers::Contains;

namespace {

using GptqFormats = TypeList<Int<2>, Int<3>, Int<4>, Int<8>, UInt<2>, UInt<3>, UInt<4>, UInt<8>>;

/// Every zero point at least 1: what v1 can store.
template <class F>
QuantizedMatrix<F> without_zero(QuantizedMatrix<F> q) {
  for (Index i = 0; i < q.rows(); ++i)
    for (Index g = 0; g < q.groups(); ++g)
      if (F::zero_point(q.parameters()(i, g)) == 0) F::set_zero_point(q.parameters()(i, g), 1);
  return q;
}

}  // namespace

TEST_CASE("words hold the codes of a column from the lowest bits on", "[gptq_checkpoint]") {
  QuantizedMatrix<UInt<4>> q(32, 32, -1, ScaleType::f16);
  for (Index k = 0; k < 32; ++k) q.codes()(5, k) = static_cast<std::uint8_t>(k % 16);
  const auto four = gptq_tensors("l", q);
  CHECK(four[0].name == "l.qweight");
  CHECK(four[0].shape == std::vector<Index>{4, 32});
  CHECK(test::words_of(four[0])[5] == 0x76543210u);
  CHECK(test::words_of(four[0])[32 + 5] == 0xfedcba98u);
  CHECK(test::words_of(four[0])[4] == 0u);

  QuantizedMatrix<UInt<3>> stream(32, 32, -1, ScaleType::f16);
  for (Index k = 0; k < 32; ++k) stream.codes()(31, k) = static_cast<std::uint8_t>((5 * k + 3) % 8);
  const auto three = gptq_tensors("l", stream);
  CHECK(three[0].shape == std::vector<Index>{3, 32});
  CHECK(test::words_of(three[0])[31] == 0x43C67543u);
  CHECK(test::words_of(three[0])[32 + 31] == 0x7543C675u);
  CHECK(test::words_of(three[0])[64 + 31] == 0xC67543C6u);
}

TEST_CASE("symmetric zero points are the words that other tools check", "[gptq_checkpoint]") {
  const auto check = []<class F>(TypeTag<F>, std::vector<std::uint32_t> v1,
                                 std::vector<std::uint32_t> v2) {
    CAPTURE(F::name);
    const QuantizedMatrix<F> q(32, 32, -1, ScaleType::f16);
    REQUIRE(default_gptq_version<F> == GptqVersion::v1);
    CHECK(test::words_of(gptq_tensors("l", q)[1]) == v1);
    CHECK(test::words_of(gptq_tensors("l", q, GptqVersion::v2)[1]) == v2);
  };
  check(TypeTag<Int<2>>{}, {0x55555555u, 0x55555555u}, {0xAAAAAAAAu, 0xAAAAAAAAu});
  // Fields of 3 and of 4 in three bits: 011 011 011 ... and 100 100 100 ...
  check(TypeTag<Int<3>>{}, {0xDB6DB6DBu, 0xB6DB6DB6u, 0x6DB6DB6Du},
        {0x24924924u, 0x49249249u, 0x92492492u});
  check(TypeTag<Int<4>>{}, std::vector(4, 0x77777777u), std::vector(4, 0x88888888u));
  check(TypeTag<Int<8>>{}, std::vector(8, 0x7F7F7F7Fu), std::vector(8, 0x80808080u));
}

TEST_CASE("every GPTQ format comes back bit for bit, in both versions", "[gptq_checkpoint]") {
  struct Case {
    Index out, in, group_size;
    ScaleType type;
    bool group_index;
  };
  const Case cases[] = {{32, 32, -1, ScaleType::f16, false},
                        {64, 96, 32, ScaleType::f16, false},
                        {32, 96, 64, ScaleType::bf16, false},  // a last group of 32
                        {96, 64, 16, ScaleType::f32, true},
                        {32, 160, 128, ScaleType::f16, true}};
  std::uint64_t seed = 1;
  for (const Case& c : cases)
    for_each_type(GptqFormats{}, [&]<class F>(TypeTag<F>) {
      for (const GptqVersion stored_as : {GptqVersion::v1, GptqVersion::v2}) {
        CAPTURE(F::name, c.out, c.in, c.group_size, stored_as == GptqVersion::v1);
        auto q =
            test::random_quantized<F>(c.out, c.in, c.group_size, c.type, seed++, c.group_index);
        if (stored_as == GptqVersion::v1) q = without_zero(q);
        const test::StoredTensors tensors(gptq_tensors("l", q, stored_as));
        GptqConfig config = gptq_config(q);
        config.version = stored_as;
        CHECK(config.desc_act == c.group_index);
        CHECK(read_gptq_layer(tensors, "l", config) == AnyQuantizedMatrix(q));
      }
    });
}

TEST_CASE("tensors have the shapes and types that readers expect", "[gptq_checkpoint]") {
  const auto q = test::random_quantized<Int<3>>(64, 96, 40, ScaleType::f16, 4);
  const auto tensors = gptq_tensors("m.l", AnyQuantizedMatrix(q));
  REQUIRE(tensors.size() == 4);
  const std::string names[] = {"m.l.qweight", "m.l.qzeros", "m.l.scales", "m.l.g_idx"};
  const DType dtypes[] = {DType::I32, DType::I32, DType::F16, DType::I32};
  const std::vector<Index> shapes[] = {{9, 64}, {3, 6}, {3, 64}, {96}};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(tensors[i].name == names[i]);
    CHECK(tensors[i].dtype == dtypes[i]);
    CHECK(tensors[i].shape == shapes[i]);
    CHECK(tensors[i].data.size() == *detail::stored_bytes(dtypes[i], shapes[i]));
  }
  const auto g_idx = elements_as<std::int32_t>(tensors[3].info());
  CHECK(g_idx[39] == 0);
  CHECK(g_idx[40] == 1);
  CHECK(g_idx[95] == 2);
}

TEST_CASE("a zero point of 0 is not written in v1 and wraps field by field when read",
          "[gptq_checkpoint]") {
  QuantizedMatrix<UInt<4>> q(32, 32, -1, ScaleType::f16);
  for (Index n = 0; n < 32; ++n) q.parameters()(n, 0) = {1.0f, 8};
  q.parameters()(3, 0).zero_point = 0;
  CHECK_THROWS_AS(gptq_tensors("l", q, GptqVersion::v1), ArgumentError);
  CHECK_THROWS_WITH(gptq_tensors("l", q, GptqVersion::v1),
                    "layer \"l\": the zero point 0 of row 3, group 0 cannot be stored as \"gptq\"; "
                    "\"gptq_v2\" can");

  auto tensors = gptq_tensors("l", q);
  std::vector<std::uint32_t> zeros(4, 0x77777777u);
  zeros[0] = 0x7777f777u;  // as writers that pack field by field store 0 - 1
  tensors[1].data = detail::to_bytes(std::span<const std::uint32_t>(zeros));
  GptqConfig config = gptq_config(q);
  config.version = GptqVersion::v1;
  const test::StoredTensors source(tensors);
  CHECK(read_gptq_layer(source, "l", config) == AnyQuantizedMatrix(q));
}

TEST_CASE("files of other writers are read", "[gptq_checkpoint]") {
  const auto q = test::random_quantized<Int<4>>(32, 64, -1, ScaleType::f16, 6);
  auto tensors = gptq_tensors("l", q);
  GptqConfig config = gptq_config(q);
  SECTION("a group size beyond the row is the whole row") { config.group_size = 128; }
  SECTION("a g_idx left out is the trivial one") { tensors.pop_back(); }
  const test::StoredTensors source(tensors);
  CHECK(read_gptq_layer(source, "l", config) == AnyQuantizedMatrix(q));
}

TEST_CASE("what the format allows is read, and what had to be assumed is noted",
          "[gptq_checkpoint]") {
  const auto q = test::random_quantized<Int<4>>(32, 64, 16, ScaleType::f16, 6);
  using Tensors = std::vector<NamedTensor>;
  const auto set_indices = [](Tensors& t, auto&& group_of) {
    std::vector<std::int32_t> index;
    for (std::int32_t k = 0; k < 64; ++k) index.push_back(group_of(k));
    t[3].data = detail::to_bytes(std::span<const std::int32_t>(index));
  };
  auto expected = q;
  struct Case {
    std::string what;
    std::function<void(Tensors&, GptqConfig&)> change;
    std::string notice;
  };
  const Case cases[] = {
      {"as written", [](Tensors&, GptqConfig&) {}, ""},
      {"placeholder", [&](Tensors& t, GptqConfig&) { set_indices(t, [](int) { return 0; }); },
       "g_idx holds only zeros"},
      {"placeholder with act-order",
       [&](Tensors& t, GptqConfig& c) {
         set_indices(t, [](int) { return 0; });
         c.desc_act = true;
       },
       "g_idx holds only zeros"},
      {"act-order without g_idx",
       [](Tensors& t, GptqConfig& c) {
         t.pop_back();
         c.desc_act = true;
       },
       "there is no g_idx"},
      {"static groups without g_idx",
       [](Tensors& t, GptqConfig& c) {
         t.pop_back();
         c.desc_act = c.static_groups = true;
       },
       ""},
      {"act-order",
       [&](Tensors& t, GptqConfig& c) {
         set_indices(t, [](int k) { return k % 4; });
         c.desc_act = true;
         std::vector<std::int32_t> index;
         for (std::int32_t k = 0; k < 64; ++k) index.push_back(k % 4);
         expected.set_group_index(index);
       },
       ""},
      {"negative, zero and subnormal scales",
       [&](Tensors& t, GptqConfig&) {
         Matrix<float> scales = to_matrix(t[2].info());
         scales(0, 3) = -scales(0, 3), scales(1, 4) = 0.0f, scales(3, 31) = -0x1p-24f;
         t[2] = detail::make_scale_tensor("l.scales", scales, ScaleType::f16);
         expected.parameters()(3, 0).scale *= -1.0f;
         expected.parameters()(4, 1).scale = 0.0f;
         expected.parameters()(31, 3).scale = -0x1p-24f;
       },
       ""},
      {"bfloat16 scales",
       [&](Tensors& t, GptqConfig&) {
         const Matrix<float> scales(detail::transposed_scales(q).view());
         t[2] = detail::make_scale_tensor("l.scales", scales, ScaleType::bf16);
         expected = QuantizedMatrix<Int<4>>(32, 64, 16, ScaleType::bf16);
         for (Index i = 0; i < 32; ++i) {
           for (Index j = 0; j < 64; ++j) expected.codes()(i, j) = q.code(i, j);
           for (Index g = 0; g < 4; ++g)
             expected.parameters()(i, g).scale = store_scale(scales(g, i), ScaleType::bf16);
         }
       },
       ""},
      {"tensors that readers do not need",
       [](Tensors& t, GptqConfig&) {
         t.push_back(t[3]);
         t.back().name = "l.rotary_emb.inv_freq";
       },
       ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.what);
    expected = q;
    Tensors tensors = gptq_tensors("l", q);
    GptqConfig config = gptq_config(q);
    c.change(tensors, config);
    const test::StoredTensors source(tensors);
    std::vector<std::string> notices;
    CHECK(read_gptq_layer(source, "l", config, &notices) == AnyQuantizedMatrix(expected));
    CHECK(notices.size() == (c.notice.empty() ? 0 : 1));
    for (const std::string& notice : notices) CHECK_THAT(notice, Contains(c.notice));
  }
}

TEST_CASE("a layer called symmetric is read with the zero points that it has",
          "[gptq_checkpoint]") {
  const auto q = without_zero(test::random_quantized<UInt<4>>(32, 64, 16, ScaleType::f16, 6));
  const test::StoredTensors source(gptq_tensors("l", q, GptqVersion::v1));
  std::vector<std::string> notices;
  const GptqConfig config{.group_size = 16};
  CHECK(read_gptq_layer(source, "l", config, &notices) == AnyQuantizedMatrix(q));
  REQUIRE(notices.size() == 1);
  CHECK_THAT(notices[0], Contains("zero points of its own"));
}

TEST_CASE("extents that fill words in part are read", "[gptq_checkpoint]") {
  // 40 outputs and 24 inputs of 4 bits, as layouts with padded words store them.
  QuantizedMatrix<UInt<4>> q(40, 28, -1, ScaleType::f16);
  Matrix<std::uint32_t> qweight({4, 40}), qzeros({1, 5});
  Matrix<float> scales({1, 40});
  std::vector<std::uint8_t> codes(28), zeros(40);
  for (Index n = 0; n < 40; ++n) {
    for (Index k = 0; k < 28; ++k)
      q.codes()(n, k) = codes[static_cast<std::size_t>(k)] =
          static_cast<std::uint8_t>((n + k) % 16);
    std::vector<std::uint32_t> words(4);
    pack_bits<std::uint32_t>(codes, 4, words);
    for (Index w = 0; w < 4; ++w) qweight(w, n) = words[static_cast<std::size_t>(w)];
    zeros[static_cast<std::size_t>(n)] = static_cast<std::uint8_t>(n % 15);
    scales(0, n) = 0.5f;
    q.parameters()(n, 0) = {0.5f, static_cast<int>(n % 15) + 1};
  }
  pack_bits<std::uint32_t>(zeros, 4, {qzeros.data(), 5});
  const std::vector<std::int32_t> g_idx(28);
  const test::StoredTensors source(
      {detail::make_tensor("l.qweight", DType::I32, qweight),
       detail::make_tensor("l.qzeros", DType::I32, qzeros),
       detail::make_scale_tensor("l.scales", scales, ScaleType::f16),
       detail::make_tensor<std::int32_t>("l.g_idx", DType::I32, {28}, g_idx)});
  CHECK(read_gptq_layer(source, "l", {.sym = false}) == AnyQuantizedMatrix(q));
}

TEST_CASE("what GPTQ files cannot hold is refused", "[gptq_checkpoint]") {
  CHECK_THROWS_AS(gptq_tensors("l", QuantizedMatrix<Int<4>>(33, 32, -1, ScaleType::f16)),
                  ShapeError);
  CHECK_THROWS_WITH(gptq_tensors("l", QuantizedMatrix<Int<4>>(32, 48, -1, ScaleType::f16)),
                    "layer \"l\": weight of shape [32, 48] cannot be a GPTQ checkpoint: both "
                    "extents must be multiples of 32");
  CHECK_THROWS_AS(gptq_tensors("l", QuantizedMatrix<Int<4>>(0, 32, -1, ScaleType::f16)),
                  ShapeError);
  CHECK_FALSE(GptqFormat<Ternary>);  // 2-bit integers whose stored numbers mean something else
  const AnyQuantizedMatrix nf4 = QuantizedMatrix<NF4>(32, 32, -1, ScaleType::f16);
  CHECK_THROWS_AS(gptq_tensors("l", nf4), ArgumentError);
  CHECK_THROWS_WITH(gptq_tensors("l", nf4), Contains("nf4 cannot be a GPTQ checkpoint"));
  const AnyQuantizedMatrix int5 = QuantizedMatrix<Int<5>>(32, 32, -1, ScaleType::f16);
  CHECK_THROWS_WITH(gptq_tensors("l", int5), Contains("int5 cannot be a GPTQ checkpoint"));
}

TEST_CASE("a damaged GPTQ layer is refused with its reason", "[gptq_checkpoint]") {
  const auto q = test::random_quantized<Int<4>>(32, 64, 16, ScaleType::f16, 2);
  using Tensors = std::vector<NamedTensor>;
  struct Case {
    std::string reason;
    void (*damage)(Tensors&, GptqConfig&);
  };
  const Case cases[] = {
      {"no tensor named \"l.qweight\"", [](Tensors& t, GptqConfig&) { t[0].name = "x"; }},
      {"no tensor named \"l.qzeros\"", [](Tensors& t, GptqConfig&) { t[1].name = "x"; }},
      {"no tensor named \"l.scales\"", [](Tensors& t, GptqConfig&) { t[2].name = "x"; }},
      {"qweight is F32, but I32", [](Tensors& t, GptqConfig&) { t[0].dtype = DType::F32; }},
      {"the shape is [256], but rank 2", [](Tensors& t, GptqConfig&) { t[0].shape = {256}; }},
      {"no weight of 4 bits with 64 columns",
       [](Tensors& t, GptqConfig&) {
         t[0].shape = {256, 1};
       }},
      {"no weight of 4 bits",
       [](Tensors& t, GptqConfig&) {
         t[0].shape = {0, 1 << 20};
         t[0].data.clear();
       }},
      {"no weight of 3 bits", [](Tensors&, GptqConfig& c) { c.bits = 3; }},
      {"bits cannot be read", [](Tensors&, GptqConfig& c) { c.bits = 5; }},
      {"no format is named \"int9\"", [](Tensors&, GptqConfig& c) { c.bits = 9; }},
      {"qzeros is U32", [](Tensors& t, GptqConfig&) { t[1].dtype = DType::U32; }},
      {"qzeros has shape [4, 4], but [2, 4]", [](Tensors&, GptqConfig& c) { c.group_size = 32; }},
      {"group size 0", [](Tensors&, GptqConfig& c) { c.group_size = 0; }},
      {"scales are I32", [](Tensors& t, GptqConfig&) { t[2].dtype = DType::I32; }},
      {"scales has shape [8, 16]",
       [](Tensors& t, GptqConfig&) {
         t[2].shape = {8, 16};
       }},
      {"is not a finite number",
       [](Tensors& t, GptqConfig&) {
         t[2].data[0] = std::byte{0}, t[2].data[1] = std::byte{0x7c};
       }},
      {"is not a finite number",
       [](Tensors& t, GptqConfig&) { t[2].data[0] = t[2].data[1] = std::byte{0xff}; }},
      {"every zero point is 7, not the 8",
       [](Tensors&, GptqConfig& c) { c.version = GptqVersion::v2; }},
      {"the shape is [2, 32], but rank 1",
       [](Tensors& t, GptqConfig&) {
         t[3].shape = {2, 32};
       }},
      {"the elements are U32", [](Tensors& t, GptqConfig&) { t[3].dtype = DType::U32; }},
      {"column 0 is in group -1 of 4",
       [](Tensors& t, GptqConfig&) {
         std::fill_n(t[3].data.begin(), 4, static_cast<std::byte>(0xff));
       }},
      {"columns instead of 16", [](Tensors& t, GptqConfig&) { t[3].data[0] = std::byte{1}; }},
  };
  for (const Case& bad : cases) {
    CAPTURE(bad.reason);
    Tensors tensors = gptq_tensors("l", q);
    GptqConfig config = gptq_config(q);
    bad.damage(tensors, config);
    const test::StoredTensors source(tensors);
    CHECK_THROWS_AS(read_gptq_layer(source, "l", config), FormatError);
    CHECK_THROWS_WITH(read_gptq_layer(source, "l", config), Contains(bad.reason));
  }
}
