#include "pare/kernels/packed_matrix.hpp"

#include "pare/core/parallel_openmp.hpp"
#include "pare/kernels/any_packed_matrix.hpp"
#include "support/catch.hpp"
#include "support/random_quantized.hpp"

using namespace pare;

namespace {

constexpr Index shapes[][3] = {{1, 1, -1},  {16, 64, 32},  {17, 65, 1},   {33, 129, 33},
                               {15, 3, -1}, {50, 259, 64}, {2, 31, 7},    {16, 256, 128},
                               {0, 5, -1},  {3, 0, -1},    {1, 1000, -1}, {31, 33, 32}};

}  // namespace

TEST_CASE("unpacking gives the quantized matrix back", "[packed_matrix]") {
  Random random(1);
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    for (const auto& [rows, cols, group_size] : shapes)
      for (const ScaleType type : {ScaleType::f32, ScaleType::f16, ScaleType::bf16}) {
        CAPTURE(F::name, rows, cols, group_size);
        auto q = test::random_quantized<F>(rows, cols, group_size, type, random);
        CHECK(unpack(pack(q)) == q);
        test::shuffle_groups(q, random);
        CHECK(unpack(pack(q)) == q);
      }
  });
}

TEST_CASE("the layout of 8 and 4 bits is the operand of the dot product", "[packed_matrix]") {
  Random random(2);
  const auto q8 = test::random_quantized<Int<8>>(33, 40, 20, ScaleType::f32, random);
  const auto q4 = test::random_quantized<UInt<4>>(33, 40, 20, ScaleType::f32, random);
  const auto w8 = pack(q8);
  const auto w4 = pack(q4);
  REQUIRE(w8.view().padded_cols() == 48);
  for (Index i = 0; i < 33; ++i)
    for (Index j = 0; j < 40; ++j) {
      const Index k = j % 20, unit = j / 20 * 3 + k / 8, lane = i % 16;
      const auto* bytes8 =
          reinterpret_cast<const std::uint8_t*>(w8.view().panel(i / 16).codes + unit * 32);
      const auto* bytes4 =
          reinterpret_cast<const std::uint8_t*>(w4.view().panel(i / 16).codes + unit * 16);
      REQUIRE(bytes8[k % 8 / 4 * 64 + lane * 4 + k % 4] == q8.code(i, j) + 128);
      REQUIRE((bytes4[lane * 4 + k % 4] >> (k % 8 / 4 * 4) & 15) == q4.code(i, j));
    }
  CHECK(reinterpret_cast<std::uintptr_t>(w8.view().panel(1).codes) % 64 == 0);
}

TEST_CASE("packing is the same on any number of threads", "[packed_matrix]") {
  Random random(3);
  const auto q = test::random_quantized<UInt<3>>(100, 77, 16, ScaleType::f16, random);
  const auto serial = pack(q);
  for (const int threads : {1, 2, 3})
    CHECK(pack(q, {.parallel_for = OpenMpFor(threads)}) == serial);
}

TEST_CASE("packed sizes count padding and parameters", "[packed_matrix]") {
  const auto w = pack(QuantizedMatrix<Int<4>>(4096, 4096, 128, ScaleType::f16));
  CHECK(w.bytes() == 4096 * 4096 / 2 + 4096 * 32 * 2 + 4096 * 4);
  CHECK(w.bits_per_weight() == Approx(4.0 + 16.0 / 128 + 32.0 / 4096));
  const AnyPackedMatrix any = pack(AnyQuantizedMatrix(QuantizedMatrix<NF4>(3, 5, -1, {})));
  CHECK(any.format() == "nf4");
  CHECK(any.rows() == 3);
  CHECK(any.cols() == 5);
  CHECK(any.bytes() == 16 * 4 + 16 * 4);
}

TEST_CASE("codes outside their bits are refused by position", "[packed_matrix]") {
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    if constexpr (F::code_bits < 8) {
      constexpr int lowest = -F::code_offset, highest = (1 << F::code_bits) - 1 - F::code_offset;
      for (const Index group_size : {-1, 7})
        for (const int code : {lowest - 1, highest + 1}) {
          CAPTURE(F::name, group_size, code);
          QuantizedMatrix<F> q(18, 33, group_size, ScaleType::f32);
          const auto given = static_cast<typename F::Code>(code);
          q.codes()(17, 32) = given;
          CHECK_THROWS_AS(pack(q), ArgumentError);
          CHECK_THROWS_WITH(pack(q), Catch::Contains("code " + std::to_string(int{given}) +
                                                     " at [17, 32] is no"));
        }
    }
  });
}

TEST_CASE("zero points outside the bits of a code are refused", "[packed_matrix]") {
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    if constexpr (F::has_zero_point) {
      constexpr int codes = 1 << F::code_bits;
      for (const int zero_point : {-1, codes}) {
        QuantizedMatrix<F> q(3, 8, 4, ScaleType::f32);
        F::set_zero_point(q.parameters()(2, 1), zero_point);
        CHECK_THROWS_WITH(pack(q), "zero point " + std::to_string(zero_point) +
                                       " of row 2, group 1 is outside [0, " +
                                       std::to_string(codes - 1) + "]");
      }
    }
  });
}

TEST_CASE("parameters that cannot be stored are refused", "[packed_matrix]") {
  QuantizedMatrix<UInt<8>> q(3, 8, 4, ScaleType::f16);
  q.parameters()(2, 1).scale = 0.1f;
  CHECK_THROWS_WITH(pack(q), Catch::Contains("row 2, group 1") && Catch::Contains("f16"));
  q.parameters()(2, 1).scale = 0.5f;
  q.parameters()(1, 0).zero_point = 256;
  CHECK_THROWS_WITH(pack(q),
                    Catch::Contains("zero point 256") && Catch::Contains("row 1, group 0"));
}
