#include "pare/kernels/elementwise.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/core/random.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/nf4.hpp"
#include "pare/formats/uint.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"
#include "support/random_quantized.hpp"

using namespace pare;
using kernels::Store;

namespace {

constexpr KernelName all_kernels[] = {KernelName::reference, KernelName::portable, KernelName::avx2,
                                      KernelName::avx512};
constexpr Index counts[] = {1, 3, 7, 8, 15, 16, 17, 33, 64, 65, 100, 259};
constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// Calls f(kernel, store, offset): outputs begin `offset` elements past an aligned address.
template <class F>
void for_each_way(F&& f) {
  for (const KernelName name : all_kernels)
    if (kernels::cpu_supports(name))
      for (const Store store : {Store::cached, Store::streaming})
        for (const Index offset : {0, 1, 5}) {
          CAPTURE(to_string(name), store == Store::streaming, offset);
          f(kernels::elementwise_kernel(name), store, offset);
        }
}

/// Values on and around the ties of a scale, far beyond its codes, and tiny ones.
std::vector<float> difficult_values(float scale, Index count, Random& random) {
  std::vector<float> x;
  for (Index i = 0; i < count; ++i) {
    float v = (static_cast<float>(random.below(700)) - 349.5f) * scale;
    switch (random.below(6)) {
      case 0:
        v = std::nextafter(v, inf);
        break;
      case 1:
        v = std::nextafter(v, -inf);
        break;
      case 2:
        v = random.below(2) ? 3e38f : -3e38f;
        break;
      case 3:
        v = random.below(2) ? 1e-44f : -0.0f;
        break;
      default:
        break;
    }
    x.push_back(std::isfinite(v) ? v : 0.0f);
  }
  return x;
}

constexpr float scales[] = {1.0f, 0.3f, 0x1.fffffep-4f, 1e-38f, 1e-30f, 1e30f, 2e38f};

}  // namespace

TEST_CASE("the range and the largest magnitude of a row are found", "[elementwise]") {
  Random random(1);
  for_each_way([&](const kernels::ElementwiseKernel& kernel, Store, Index offset) {
    for (const Index count : counts) {
      std::vector<float> memory(static_cast<std::size_t>(offset + count));
      float* const x = memory.data() + offset;
      for (Index i = 0; i < count; ++i) x[i] = random.normal() + 1.0f;
      const Range expected = range_of(x, count), found = kernel.range(x, count);
      REQUIRE(found.lo == expected.lo);
      REQUIRE(found.hi == expected.hi);
      REQUIRE(kernel.absmax(x, count) == expected.absmax());
      for (const float bad : {inf, -inf, not_a_number, -not_a_number}) {
        const auto i = static_cast<Index>(random.below(static_cast<std::uint32_t>(count)));
        const float kept = std::exchange(x[i], bad);
        REQUIRE(std::isnan(kernel.range(x, count).lo));
        REQUIRE(!std::isfinite(kernel.absmax(x, count)));
        x[i] = kept;
      }
    }
  });
}

TEST_CASE("codes are those of a division", "[elementwise]") {
  Random random(2);
  constexpr kernels::EncodeParameters ranges[] = {{1.0f, 0, -128, 127},
                                                  {1.0f, 7, 0, 255},
                                                  {1.0f, 255, 0, 255},
                                                  {1.0f, 0, -8, 7},
                                                  {1.0f, 3, 0, 3}};
  for_each_way([&](const kernels::ElementwiseKernel& kernel, Store store, Index offset) {
    for (const Index count : counts)
      for (const float scale : scales)
        for (kernels::EncodeParameters p : ranges) {
          p.scale = scale;
          const std::vector<float> x = difficult_values(scale, count, random);
          AlignedVector<std::uint8_t> codes(static_cast<std::size_t>(offset + count) + 1, 99);
          kernel.encode(x.data(), count, p, store, codes.data() + offset);
          kernels::finish_streaming();
          for (Index i = 0; i < count; ++i) {
            const auto code = codes[static_cast<std::size_t>(offset + i)];
            const double level = std::nearbyint(x[static_cast<std::size_t>(i)] / scale);
            const double expected = std::clamp(level + p.zero_point, double(p.lo), double(p.hi));
            const int found = p.lo < 0 ? static_cast<std::int8_t>(code) : code;
            if (found == expected) continue;  // an assertion for each would take long
            CAPTURE(count, i, scale, p.lo);
            REQUIRE(found == expected);
          }
          REQUIRE(codes.back() == 99);
        }
  });
}

TEST_CASE("bytes are decoded with their sign and zero point", "[elementwise]") {
  Random random(3);
  for_each_way([&](const kernels::ElementwiseKernel& kernel, Store store, Index offset) {
    for (const Index count : counts)
      for (const bool is_signed : {true, false}) {
        const kernels::DecodeParameters p{0.37f, is_signed ? 0 : 131, is_signed};
        std::vector<std::uint8_t> codes(static_cast<std::size_t>(count));
        for (std::uint8_t& code : codes) code = static_cast<std::uint8_t>(random.below(256));
        AlignedVector<float> y(static_cast<std::size_t>(offset + count) + 1, -7.0f);
        kernel.decode(codes.data(), count, p, store, y.data() + offset);
        kernels::finish_streaming();
        for (Index i = 0; i < count; ++i) {
          const std::uint8_t byte = codes[static_cast<std::size_t>(i)];
          const int code = is_signed ? static_cast<std::int8_t>(byte) : byte;
          REQUIRE(y[static_cast<std::size_t>(offset + i)] ==
                  p.scale * static_cast<float>(code - p.zero_point));
        }
        REQUIRE(y.back() == -7.0f);
      }
  });
}

TEST_CASE("fake quantization rounds to multiples of the scale", "[elementwise]") {
  Random random(4);
  for_each_way([&](const kernels::ElementwiseKernel& kernel, Store store, Index offset) {
    for (const Index count : counts)
      for (const float scale : scales)
        for (const auto policy : {QuotientPolicy::reciprocal, QuotientPolicy::divide}) {
          if (policy == QuotientPolicy::reciprocal && scale > 1e38f) continue;
          const kernels::FakeParameters p{scale, -300, 290, policy};
          const std::vector<float> x = difficult_values(scale, count, random);
          AlignedVector<float> y(static_cast<std::size_t>(offset + count) + 1, -7.0f);
          REQUIRE(kernel.fake_quantize(x.data(), count, p, store, y.data() + offset));
          kernels::finish_streaming();
          for (Index i = 0; i < count; ++i) {
            const float v = x[static_cast<std::size_t>(i)];
            const float q = policy == QuotientPolicy::divide ? v / scale : v * (1.0f / scale);
            const float level = std::clamp(std::nearbyint(q), -300.0f, 290.0f);
            const float found = y[static_cast<std::size_t>(offset + i)];
            if (found == level * scale && std::signbit(found) == (level < 0.0f)) continue;
            CAPTURE(count, i, scale, v);
            REQUIRE(found == level * scale);
            REQUIRE(std::signbit(found) == (level < 0.0f));
          }
          REQUIRE(y.back() == -7.0f);
        }
    std::vector<float> x(50, 1.0f), y(50);
    for (const float bad : {inf, -inf, not_a_number})
      for (const std::size_t i : {0u, 20u, 49u}) {
        x[i] = bad;
        for (const auto policy : {QuotientPolicy::reciprocal, QuotientPolicy::divide})
          CHECK(!kernel.fake_quantize(x.data() + offset, 50 - offset, {1.0f, -128, 127, policy},
                                      store, y.data()) == (static_cast<Index>(i) >= offset));
        x[i] = 1.0f;
      }
  });
}

TEST_CASE("absmax takes matrices of any strides", "[elementwise]") {
  Random random(5);
  for (const Index rows : {0, 1, 3, 70})
    for (const Index cols : {0, 1, 17, 300}) {
      const Matrix<float> x = test::random_matrix(rows, cols, random());
      double expected = 0.0;
      for (Index i = 0; i < x.size(); ++i)
        expected = std::max(expected, std::abs(double{x.data()[i]}));
      const test::Strided<float> strided(x);
      for (const KernelName kernel : all_kernels) {
        if (!kernels::cpu_supports(kernel)) continue;
        const Execution execution{.parallel_for = OpenMpFor(2), .force = kernel};
        CHECK(absmax(x, execution, {.piece_bytes = 256}) == expected);
        CHECK(absmax(x.view().transposed(), execution) == expected);
        CHECK(absmax(strided.view(), execution) == expected);
      }
    }
  Matrix<float> x({3, 40});
  x(2, 39) = -inf;
  CHECK(absmax(x) == inf);
  x(1, 0) = not_a_number;
  CHECK(std::isnan(absmax(x)));
  CHECK_THROWS_AS(absmax(x, {.force = KernelName::avx512vnni}), ArgumentError);
}

TEMPLATE_TEST_CASE("dequantize writes what value(i, j) says", "[elementwise]", Int<8>, UInt<8>,
                   Int<3>, NF4) {
  Random random(6);
  for (const Index group_size : {-1, 1, 16, 33})
    for (const bool shuffled : {false, true}) {
      auto q = test::random_quantized<TestType>(7, 133, group_size, ScaleType::f32, random);
      if (shuffled && group_size > 1) test::shuffle_groups(q, random);
      const Matrix<float> expected = dequantize(q);
      for (const KernelName kernel : all_kernels) {
        if (!kernels::cpu_supports(kernel)) continue;
        for (const Index streaming_bytes : {0, 1 << 30}) {
          const Execution execution{.parallel_for = OpenMpFor(2), .force = kernel};
          const MemoryTuning tuning{.streaming_bytes = streaming_bytes, .piece_bytes = 256};
          Matrix<float> values({7, 133});
          dequantize(q, values, execution, tuning);
          REQUIRE(values == expected);
          test::Strided<float> strided{values.view()};
          dequantize(q, strided.view(), execution, tuning);
          REQUIRE(Matrix<float>(strided.view()) == expected);
        }
      }
    }
  Matrix<float> wrong({7, 132});
  const auto q = test::random_quantized<TestType>(7, 133, -1, ScaleType::f32, random);
  CHECK_THROWS_WITH(dequantize(q, wrong), Catch::Contains("[7, 133]"));
}

TEST_CASE("pieces cover a matrix once", "[elementwise]") {
  for (const Shape<2> shape : {Shape<2>{0, 5}, {5, 0}, {1, 1}, {9, 16}, {3, 1000}, {200, 7}})
    for (const Index piece_bytes : {1, 64, 300, 4096}) {
      Matrix<int> seen(shape);
      kernels::for_each_piece(shape, {.parallel_for = OpenMpFor(2)}, {.piece_bytes = piece_bytes},
                              [&](Index i, Index begin, Index count) {
                                CHECK(begin % 16 == 0);
                                for (Index j = begin; j < begin + count; ++j) ++seen(i, j);
                              });
      for (Index i = 0; i < seen.size(); ++i) REQUIRE(seen.data()[i] == 1);
    }
}

TEST_CASE("tuning says what it is and where streaming begins", "[elementwise]") {
  const MemoryTuning tuning{.streaming_bytes = 1 << 20, .piece_bytes = 1 << 16};
  CHECK(to_string(tuning) == "streaming stores from 1024 KiB of output, pieces of 64 KiB");
  CHECK(kernels::choose_store((1 << 20) - 1, tuning) == Store::cached);
  CHECK(kernels::choose_store(1 << 20, tuning) == Store::streaming);
  CHECK(last_level_cache_bytes() >= Index{128} << 10);
}
