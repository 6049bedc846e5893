#include "pare/kernels/packed_matrix.hpp"

#include <cstring>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/kernels/any_packed_matrix.hpp"
#include "support/catch.hpp"
#include "support/kernel_formats.hpp"
#include "support/random_quantized.hpp"

using namespace pare;

namespace {

constexpr Index shapes[][3] = {{1, 1, -1},    {16, 64, 32},  {17, 65, 1},   {33, 129, 33},
                               {15, 3, -1},   {50, 259, 64}, {2, 31, 7},    {16, 256, 128},
                               {0, 5, -1},    {3, 0, -1},    {1, 1000, -1}, {31, 33, 32},
                               {19, 600, 300}};

constexpr KernelName kernels_of_packing[] = {KernelName::portable, KernelName::avx512};

/// The value of a packed weight, by the definition of the layout.
template <Format F>
unsigned packed_code(const PackedMatrix<F>& w, Index row, Index position) {
  using Codes = typename PackedMatrix<F>::Codes;
  const kernels::PackedPanel panel = w.view().panel(row / 16);
  const Index g = position / w.group_length(), k = position % w.group_length();
  const Index unit = g * panel.group_units + k / Codes::unit;
  return kernels::load_code<Codes>(panel.codes + unit * Codes::unit_words, k % Codes::unit,
                                   row % 16);
}

}  // namespace

TEST_CASE("unpacking gives the quantized matrix back", "[packed_matrix]") {
  Random random(1);
  for_each_type(test::KernelFormats{}, [&]<class F>(TypeTag<F>) {
    for (const auto& [rows, cols, group_size] : shapes)
      for (const ScaleType type : {ScaleType::f32, ScaleType::f16, ScaleType::bf16}) {
        CAPTURE(F::name, rows, cols, group_size);
        auto q = test::random_quantized<F>(rows, cols, group_size, type, random);
        CHECK(unpack(pack(q)) == q);
        test::shuffle_groups(q, random);
        const auto w = pack(q);
        CHECK(unpack(w) == q);
        for (const KernelName kernel : kernels_of_packing) CHECK(pack(q, {.force = kernel}) == w);
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

TEST_CASE("codes, padding and sums of rows are where the layout says", "[packed_matrix]") {
  Random random(4);
  for_each_type(test::KernelFormats{}, [&]<class F>(TypeTag<F>) {
    using Codes = typename PackedMatrix<F>::Codes;
    for (const auto& [rows, cols, group_size] : shapes) {
      CAPTURE(F::name, rows, cols, group_size);
      auto q = test::random_quantized<F>(rows, cols, group_size, ScaleType::f32, random);
      test::shuffle_groups(q, random);
      const auto w = pack(q);
      std::vector<std::uint32_t> rebuilt(
          static_cast<std::size_t>(w.panels() * w.view().first.units * Codes::unit_words));
      bool same = true;
      for (Index i = 0; i < rows; ++i) {
        double sum = 0.0;
        for (Index g = 0; g < q.groups(); ++g) {
          Index group_sum = 0;
          const Index count = std::min(q.group_length(), cols - g * q.group_length());
          for (Index k = 0; k < count; ++k) {
            const Index p = g * q.group_length() + k;
            const Index j = w.column_order().empty() ? p : w.column_order()[std::size_t(p)];
            const unsigned stored = to_stored<F>(q.code(i, j));
            same = same && packed_code(w, i, p) == stored;
            const Index unit =
                i / 16 * w.view().first.units + g * w.view().first.group_units + k / Codes::unit;
            kernels::store_code<Codes>(rebuilt.data() + unit * Codes::unit_words, k % Codes::unit,
                                       i % 16, stored);
            group_sum += F::is_integer ? q.code(i, j)
                                       : kernels::integer_codebook<F>.operands[stored % 16] -
                                             kernels::integer_codebook<F>.center;
          }
          sum += static_cast<double>(q.parameters()(i, g).scale) *
                 static_cast<double>(group_sum - count * F::zero_point(q.parameters()(i, g)));
        }
        CHECK(w.row_sums()[static_cast<std::size_t>(i)] == static_cast<float>(sum));
      }
      CHECK(same);
      // Codes are all there is: padding is zero.
      CHECK((rebuilt.empty() ||
             std::memcmp(rebuilt.data(), w.view().first.codes, 4 * rebuilt.size()) == 0));
    }
  });
}

TEST_CASE("packing is the same on any number of threads", "[packed_matrix]") {
  Random random(3);
  const auto q = test::random_quantized<UInt<3>>(100, 77, 16, ScaleType::f16, random);
  const auto serial = pack(q);
  for (const int threads : {1, 2, 3})
    CHECK(pack(q, {.parallel_for = OpenMpFor(threads)}) == serial);
  for (const int threads : {1, 2, 3})
    CHECK(unpack(serial, {.parallel_for = OpenMpFor(threads)}) == q);
}

TEST_CASE("packed sizes count padding and parameters", "[packed_matrix]") {
  const auto w = pack(QuantizedMatrix<Int<4>>(4096, 4096, 128, ScaleType::f16));
  CHECK(w.bytes() == 4096 * 4096 / 2 + 4096 * 32 * 2 + 4096 * 4);
  CHECK(w.bits_per_weight() == Approx(4.0 + 16.0 / 128 + 32.0 / 4096));
  const AnyPackedMatrix any = pack(AnyQuantizedMatrix(QuantizedMatrix<NF4>(3, 5, -1, {})));
  CHECK(any.format() == "nf4");
  CHECK(any.rows() == 3);
  CHECK(any.cols() == 5);
  CHECK(any.bytes() == 64 + 64 + 64);  // codes, scales, row sums, on cache lines

  // A product streams codes and parameters.
  CHECK(any.streamed().size() == 64 + 64);
  CHECK(any.streamed().data() == any.as<PackedMatrix<NF4>>().storage().bytes().data());
  CHECK(w.streamed().size() == 4096 * 4096 / 2 + 4096 * 32 * 2);
  CHECK(PackedMatrix<NF4>().streamed().empty());
}

TEST_CASE("codes outside their bits are refused by position", "[packed_matrix]") {
  for_each_type(test::KernelFormats{}, [&]<class F>(TypeTag<F>) {
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
  for_each_type(test::KernelFormats{}, [&]<class F>(TypeTag<F>) {
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
  for (const float scale :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    q.parameters()(2, 1).scale = scale;
    CHECK_THROWS_WITH(pack(q), Catch::Contains("row 2, group 1"));
  }
  q.parameters()(2, 1).scale = 0.5f;
  q.parameters()(1, 0).zero_point = 256;
  CHECK_THROWS_WITH(pack(q),
                    Catch::Contains("zero point 256") && Catch::Contains("row 1, group 0"));
}

TEST_CASE("copies own their memory, a moved-from matrix is empty", "[packed_matrix]") {
  Random random(5);
  auto q = test::random_quantized<UInt<4>>(33, 70, 16, ScaleType::f16, random);
  test::shuffle_groups(q, random);
  auto w = pack(q);
  const auto copy = w;
  CHECK(copy == w);
  CHECK(copy.view().first.codes != w.view().first.codes);
  const auto* const codes = w.view().first.codes;
  const auto moved = std::move(w);
  CHECK(moved == copy);
  CHECK(moved.view().first.codes == codes);
  CHECK(w == PackedMatrix<UInt<4>>());
  CHECK(w.rows() == 0);
  CHECK(w.cols() == 0);
  CHECK(w.groups() == 0);
  CHECK(w.column_order().empty());
  w = copy;
  CHECK(w == copy);
  q.codes()(0, 0) ^= 1;
  CHECK_FALSE(pack(q) == copy);
}

TEST_CASE("a matrix over shared bytes keeps their owner alive", "[packed_matrix]") {
  Random random(6);
  const auto q = test::random_quantized<UInt<3>>(20, 65, 32, ScaleType::bf16, random);
  const auto packed = pack(q);
  auto owner = std::make_shared<HugePageMemory>(packed.storage().bytes().size());
  std::memcpy(owner->data(), packed.storage().bytes().data(), owner->size_bytes());
  PackedMatrix<UInt<3>> shared(packed.shape(), PackedStorage(owner->bytes(), owner));
  const std::byte* const place = owner->data();
  const std::weak_ptr<const void> watch = owner;
  owner.reset();
  CHECK(shared == packed);
  CHECK(shared.storage().is_shared());
  auto other = shared;
  CHECK(other.storage().bytes().data() == place);
  shared = {};
  CHECK(unpack(other) == q);
  CHECK_FALSE(watch.expired());
  other = packed;
  CHECK(watch.expired());
}

TEST_CASE("bytes that are no packed matrix are refused", "[packed_matrix]") {
  using W = PackedMatrix<UInt<3>>;
  Random random(7);
  auto q = test::random_quantized<UInt<3>>(5, 65, 32, ScaleType::f16, random);
  test::shuffle_groups(q, random);
  const W w = pack(q);
  const auto sections = kernels::packed_sections<UInt<3>>(w.shape());
  const auto changed = [&](PackedShape shape, Index at, std::byte value) {
    HugePageMemory memory(w.storage().bytes().size());
    std::memcpy(memory.data(), w.storage().bytes().data(), memory.size_bytes());
    memory.data()[at] = value;
    return W(shape, PackedStorage(std::move(memory)));
  };
  PackedShape shape = w.shape();
  CHECK(changed(shape, 0, w.storage().bytes()[0]) == w);
  CHECK_THROWS_WITH(changed(shape, sections.zero_points.offset_bytes + 3, std::byte{8}),
                    "packed zero point 3 is 8, beyond 7");
  CHECK_THROWS_WITH(changed(shape, sections.scales.offset_bytes + 3, std::byte{0x7f}),
                    "packed scale 1 is not finite");
  CHECK_THROWS_WITH(changed(shape, sections.column_order.offset_bytes + 6, std::byte{1}),
                    Catch::Contains("position 1 of the column order holds column 65"));
  shape.rows = 17;
  CHECK_THROWS_AS(changed(shape, 0, {}), ShapeError);
  CHECK_THROWS_WITH(changed(shape, 0, {}), Catch::Contains("uint3 of shape [17, 65] is packed in"));
  for (const auto& [rows, cols] : {std::pair<Index, Index>{-1, 1},
                                   {1, -1},
                                   {Index{1} << 31, 1},
                                   {1, Index{1} << 31},
                                   {(Index{1} << 31) - 1, (Index{1} << 31) - 1}}) {
    shape.rows = rows, shape.cols = cols, shape.group_size = -1;
    CHECK_THROWS_WITH(W(shape, {}), Catch::Contains("cannot be packed"));
  }
  shape = {.rows = 1, .cols = 8, .group_size = 9};
  CHECK_THROWS_AS(W(shape, {}), ArgumentError);
  const std::byte odd[129] = {};
  const std::span<const std::byte> bytes(odd + (reinterpret_cast<std::uintptr_t>(odd) % 2 == 0),
                                         128);
  CHECK_THROWS_WITH(
      (PackedMatrix<Ternary>({.rows = 1, .cols = 0},
                             PackedStorage(bytes.first(64), std::make_shared<int>()))),
      Catch::Contains("not aligned"));
}
