#include "pare/quantization/quantize.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "pare/formats/any_quantized_matrix.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"
#include "support/tolerance.hpp"

using namespace pare;

namespace {

/// One value rounded over the range of its block, written down from the definition.
double nearest_int4(double value, double lo, double hi) {
  const double scale = std::max(std::fabs(lo), std::fabs(hi)) / 7.5;
  return scale * std::clamp(std::nearbyint(value / scale), -8.0, 7.0);
}
double nearest_uint4(double value, double lo, double hi) {
  lo = std::min(lo, 0.0);
  hi = std::max(hi, 0.0);
  const double scale = (hi - lo) / 15.0, zero = std::nearbyint(-lo / scale);
  return scale * (std::clamp(std::nearbyint(value / scale) + zero, 0.0, 15.0) - zero);
}

template <class F>
void check_against_definition(double (*nearest)(double, double, double)) {
  for (const Index cols : {1, 3, 17, 33})
    for (const Index group_size : {-1, 1, 3, 16}) {
      if (group_size > cols) continue;
      const Matrix<float> w = test::random_matrix(5, cols, 3);
      const auto q = quantize<F>(w, {.group_size = group_size, .scale_type = ScaleType::f32});
      const Index length = q.group_length();
      for (Index i = 0; i < w.rows(); ++i)
        for (Index j = 0; j < cols; ++j) {
          const Index begin = j / length * length;
          const Range r = range_of(&w(i, begin), std::min(length, cols - begin));
          CAPTURE(cols, group_size, i, j);
          // Of two equally near values float and double may take different ones.
          const double distance = std::fabs(nearest(w(i, j), r.lo, r.hi) - double{w(i, j)});
          REQUIRE(std::fabs(double{q.value(i, j)} - double{w(i, j)}) ==
                  Approx(distance).epsilon(1e-5).margin(1e-6));
        }
    }
}

template <class F>
double total_error(const Matrix<float>& w, const QuantizedMatrix<F>& q, double exponent) {
  double sum = 0.0;
  for (Index i = 0; i < w.rows(); ++i)
    for (Index j = 0; j < w.cols(); ++j)
      sum += std::pow(std::fabs(double{w(i, j)} - double{q.value(i, j)}), exponent);
  return sum;
}

}  // namespace

TEST_CASE("every value is the nearest on the grid of its group", "[quantization]") {
  check_against_definition<Int<4>>(nearest_int4);
  check_against_definition<UInt<4>>(nearest_uint4);
}

TEST_CASE("nearest rounding agrees with the GPTQ authors' code", "[quantization]") {
  const auto file = SafetensorsReader::open(PARE_TEST_DATA_DIR "/gptq.safetensors");
  const Matrix<float> weight = file.read_matrix("weight");
  int cases = 0;
  for (; file.metadata().contains("case" + std::to_string(cases)); ++cases) {
    const std::string name = "case" + std::to_string(cases);
    const auto about = parse_json(file.metadata().at(name));
    const std::string format =
        (about.at("symmetric").get<bool>() ? "int" : "uint") + about.at("bits").dump();
    const QuantizeOptions options{
        .group_size = about.at("group_size").get<Index>(),
        .scale_type = ScaleType::f32,
        .range = {
            .method = about.at("mse").get<bool>() ? RangeMethod::mse_clip : RangeMethod::min_max,
            .denominator = SymmetricDenominator::half_range}};
    const Matrix<float> values = with_format(
        format, [&]<class F>(TypeTag<F>) { return dequantize(quantize<F>(weight, options)); });
    CAPTURE(name, file.metadata().at(name));
    CHECK(test::max_difference(values, file.read_matrix(name + ".nearest")) < 1e-5);
  }
  CHECK(cases == 34);
}

TEST_CASE("clipping never raises the error it minimizes", "[quantization]") {
  Matrix<float> w = test::random_matrix(6, 67, 9);
  w(2, 5) = 30.0f;
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    QuantizeOptions options{.group_size = 32, .scale_type = ScaleType::f32};
    const double plain = total_error(w, quantize<F>(w, options), 2.4);
    options.range.method = RangeMethod::mse_clip;
    const double clipped = total_error(w, quantize<F>(w, options), 2.4);
    CAPTURE(F::name);
    CHECK(clipped <= plain);
    if (F::code_bits == 3) CHECK(clipped < plain);
  });
}

TEST_CASE("codes are chosen with the scale as it is stored", "[quantization]") {
  const Matrix<float> w = test::random_matrix(4, 33, 12);
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    for (const ScaleType type : {ScaleType::f16, ScaleType::bf16, ScaleType::f32}) {
      const auto q = quantize<F>(w, {.group_size = 8, .scale_type = type});
      REQUIRE(q.scale_type() == type);
      for (Index i = 0; i < 4; ++i)
        for (Index j = 0; j < 33; ++j) {
          const auto& p = q.parameters()(i, q.group_of(j));
          REQUIRE(p.scale == store_scale(p.scale, type));
          REQUIRE(q.code(i, j) == F::encode(w(i, j), p));
        }
    }
  });
}

TEST_CASE("a scale beyond its type keeps all scales in float32", "[quantization]") {
  for (const float magnitude : {1e-9f, 1e9f, 1e30f, 1e-36f}) {
    CAPTURE(magnitude);
    Matrix<float> w = test::random_matrix(3, 16, 2);
    for (Index j = 8; j < 16; ++j) w(1, j) = magnitude;
    const auto q = quantize<Int<4>>(w, {.group_size = 8});
    CHECK(q.scale_type() == ScaleType::f32);
    CHECK(q.value(1, 8) == Approx(magnitude).epsilon(0.07));
  }
  const Matrix<float> ordinary = test::random_matrix(3, 16, 2);
  CHECK(quantize<Int<4>>(ordinary, {.group_size = 8}).scale_type() == ScaleType::f16);
}

TEST_CASE("zeros stay zeros", "[quantization]") {
  const Matrix<float> zeros({3, 17});
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    CHECK(dequantize(quantize<F>(zeros, {.group_size = 4})) == zeros);
  });
}

TEST_CASE("matrices without elements quantize to nothing", "[quantization]") {
  CHECK(quantize<Int<4>>(Matrix<float>({0, 5}), {.group_size = 2}).groups() == 3);
  CHECK(quantize<Int<4>>(Matrix<float>({5, 0})).groups() == 0);
}

TEST_CASE("strided weights give the codes of compact ones", "[quantization]") {
  const Matrix<float> w = test::random_matrix(5, 17, 4);
  const test::Strided<float> strided(w.view());
  CHECK(quantize<UInt<3>>(strided.view(), {.group_size = 5}) ==
        quantize<UInt<3>>(w, {.group_size = 5}));
  const Matrix<float> turned(w.view().transposed());
  CHECK(quantize<Int<8>>(w.view().transposed()) == quantize<Int<8>>(turned));
}

TEST_CASE("the order in which rows are quantized changes nothing", "[quantization]") {
  const Matrix<float> w = test::random_matrix(9, 40, 6);
  const auto backwards = [](Index count, ParallelFor::Body body) {
    for (Index i = count; i-- > 0;) body(i);
  };
  CHECK(quantize<NF4>(w, {.group_size = 16}) ==
        quantize<NF4>(w, {.group_size = 16}, {.parallel_for = backwards}));
}

TEST_CASE("kernels, streaming stores and old memory do not change a bit", "[quantization]") {
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    for (const Index group_size : {-1, 1, 32, 50}) {
      const QuantizeOptions options{.group_size = group_size};
      const Matrix<float> w = test::random_matrix(9, 150, 5),
                          other = test::random_matrix(9, 150, 6);
      const auto expected = quantize<F>(w, options, {.force = KernelName::reference});
      for (Index i = 0; i < w.rows(); ++i)
        for (Index j = 0; j < w.cols(); ++j)
          REQUIRE(expected.code(i, j) ==
                  F::encode(w(i, j), expected.parameters()(i, expected.group_of(j))));
      for (const KernelName kernel : {KernelName::avx2, KernelName::avx512}) {
        if (!kernels::cpu_supports(kernel)) continue;
        CAPTURE(F::name, group_size, to_string(kernel));
        auto q = quantize<F>(other, options);
        const void* const memory = q.codes().data();
        quantize(w, options, {.force = kernel}, q, {.streaming_bytes = 0, .piece_bytes = 1000});
        CHECK(q == expected);
        CHECK(q.codes().data() == memory);
      }
    }
  });
}

TEST_CASE("range options out of range are refused by name", "[quantization]") {
  const Matrix<float> w = test::random_matrix(1, 3);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const auto refused = [&](const RangeOptions& range, const std::string& message) {
    CHECK_THROWS_AS(quantize<Int<4>>(w, {.range = range}), ArgumentError);
    CHECK_THROWS_WITH(quantize<Int<4>>(w, {.range = range}), Catch::Contains(message));
  };
  for (const float exponent : {0.0f, -1.0f, nan, infinity})
    refused({.exponent = exponent}, "the exponent of the clip error is");
  for (const int grid : {0, -5}) refused({.grid = grid}, "grid has " + std::to_string(grid));
  for (const float shrink : {-0.1f, 1.0f, nan, infinity})
    refused({.max_shrink = shrink}, "outside [0, 1)");
  CHECK_NOTHROW(quantize<Int<4>>(
      w, {.range = {
              .method = RangeMethod::mse_clip, .exponent = 1.0f, .grid = 1, .max_shrink = 0.0f}}));
}

TEST_CASE("NaN, infinity and impossible groups are refused", "[quantization]") {
  Matrix<float> w = test::random_matrix(3, 8);
  for (const Index group_size : {0, -2, 9})
    CHECK_THROWS_AS(quantize<Int<4>>(w, {.group_size = group_size}), ArgumentError);
  w(2, 7) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(quantize<Int<4>>(w), "weight holds NaN at [2, 7]");
  w(2, 7) = -std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(quantize<Int<4>>(w), NumericError);
}

TEST_CASE("scales below F16 are raised and counted, or the matrix is widened", "[quantization]") {
  Matrix<float> w = test::random_matrix(4, 64, 17);
  for (Index j = 32; j < 64; ++j) w(2, j) *= 1e-9f;
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    CAPTURE(F::name);
    QuantizeReport report;
    QuantizeOptions options{.group_size = 32, .scale_type = ScaleType::f16, .report = &report};
    for (const RangeMethod method : {RangeMethod::min_max, RangeMethod::mse_clip}) {
      options.range = {.method = method};
      CHECK(quantize<F>(w, options).scale_type() == ScaleType::f32);
      CHECK(report.scales_widened);
      CHECK(report.scales_raised == 0);
      options.range.underflow = ScaleUnderflow::smallest;
      const auto q = quantize<F>(w, options);
      CHECK(q.scale_type() == ScaleType::f16);
      CHECK_FALSE(report.scales_widened);
      CHECK(report.scales_raised == 1);
      CHECK(q.parameters()(2, 1).scale == smallest_f16_scale);
      for (Index j = 32; j < 64; ++j) CHECK(std::fabs(q.value(2, j)) <= smallest_f16_scale);
      // The other groups are as without it.
      w(2, 40) = 1.0f;
      const auto other = quantize<F>(
          w, {.group_size = 32, .scale_type = ScaleType::f16, .range = {.method = method}});
      w(2, 40) = 1e-9f;
      for (Index i = 0; i < 4; ++i)
        for (Index j = 0; j < (i == 2 ? 32 : 64); ++j) REQUIRE(q.code(i, j) == other.code(i, j));
    }
  });
}

TEST_CASE("a scale above F16 is not raised", "[quantization]") {
  Matrix<float> w({1, 32});
  w.fill(1e6f);
  QuantizeReport report;
  const auto q = quantize<Int<4>>(w, {.group_size = 32,
                                      .scale_type = ScaleType::f16,
                                      .range = {.underflow = ScaleUnderflow::smallest},
                                      .report = &report});
  CHECK(q.scale_type() == ScaleType::f32);
  CHECK(report.scales_widened);
  CHECK(report.scales_raised == 0);
}
