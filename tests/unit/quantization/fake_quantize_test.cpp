#include "pare/quantization/fake_quantize.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "pare/core/tensor.hpp"
#include "pare/formats/all.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"
#include "support/tolerance.hpp"

using namespace pare;

namespace {

Matrix<float> faked(MatrixView<const float> x, VectorView<const AffineParameters> parameters,
                    const FakeQuantizeOptions& options) {
  Matrix<float> y(x.shape());
  fake_quantize(x, parameters, options, y);
  return y;
}

/// Random values, ties of the grid of each row, neighbours of ties, and values far outside.
Matrix<float> difficult_values(VectorView<const AffineParameters> parameters, Index cols) {
  Random random(21);
  Matrix<float> x({parameters.size(), cols});
  for (Index i = 0; i < x.rows(); ++i)
    for (Index j = 0; j < cols; ++j) {
      const float scale = parameters[i].scale;
      const float tie =
          scale * (static_cast<float>(static_cast<int>(random.below(600)) - 300) + 0.5f);
      const float choices[] = {scale * 100.0f * random.normal(),
                               tie,
                               std::nextafter(tie, 1e30f),
                               std::nextafter(tie, -1e30f),
                               scale * 1e7f,
                               -scale * 1e7f,
                               0.0f,
                               -0.0f};
      x(i, j) = choices[j % 8];
    }
  return x;
}

SafetensorsReader oracle() {
  return SafetensorsReader::open(PARE_TEST_DATA_DIR "/fake_quantize.safetensors");
}

FakeQuantizeOptions options_of(const nlohmann::json& about) {
  return {.lo = about.at("qmin").get<std::int32_t>(), .hi = about.at("qmax").get<std::int32_t>()};
}

}  // namespace

TEST_CASE("outputs and gradients per tensor have PyTorch's bits", "[quantization]") {
  const auto file = oracle();
  for (const std::string name : {"tensor0", "tensor1", "tensor2", "tensor3"}) {
    CAPTURE(name);
    const auto about = parse_json(file.metadata().at(name));
    const AffineParameters parameters{about.at("scale").get<float>(),
                                      about.at("zero_point").get<std::int32_t>()};
    const FakeQuantizeOptions options = options_of(about);
    const Matrix<float> x = file.read_matrix(name + ".x");
    Matrix<float> y(x.shape()), dx(x.shape());
    fake_quantize(x, parameters, options, y);
    CHECK(test::bit_differences(y, file.read_matrix(name + ".y")) == 0);
    fake_quantize_backward(x, parameters, options, file.read_matrix(name + ".upstream"), dx);
    CHECK(test::bit_differences(dx, file.read_matrix(name + ".grad")) == 0);
  }
}

TEST_CASE("outputs and gradients per channel have PyTorch's bits", "[quantization]") {
  const auto file = oracle();
  const auto about = parse_json(file.metadata().at("channel"));
  REQUIRE(about.at("axis") == 0);
  const Matrix<float> x = file.read_matrix("channel.x");
  const Vector<float> scales = file.read_vector("channel.scale");
  Vector<AffineParameters> parameters({scales.size()});
  for (Index i = 0; i < scales.size(); ++i)
    parameters[i] = {scales[i], about.at("zero_point").get<std::int32_t>()};
  CHECK(test::bit_differences(faked(x, parameters, options_of(about)),
                              file.read_matrix("channel.y")) == 0);
  Matrix<float> dx(x.shape());
  fake_quantize_backward(x, parameters, options_of(about), file.read_matrix("channel.upstream"),
                         dx);
  CHECK(test::bit_differences(dx, file.read_matrix("channel.grad")) == 0);
}

TEST_CASE("known values: ties, saturation and the zero point", "[quantization]") {
  const std::vector<float> x{0.5f, 1.5f, 2.5f, -0.5f, 7.4f, 100.0f, -3.4f, -3.6f};
  const std::vector<float> expected{0, 2, 2, 0, 7, 12, -3, -3};
  std::vector<float> y(8), dx(8);
  const std::vector<float> dy(8, -2.0f);
  const FakeQuantizeOptions codes{.lo = 0, .hi = 15};
  fake_quantize(MatrixView<const float>(x, {1, 8}), {1.0f, 3}, codes, MatrixView<float>(y, {1, 8}));
  CHECK(y == expected);
  fake_quantize_backward(MatrixView<const float>(x, {1, 8}), {1.0f, 3}, codes,
                         MatrixView<const float>(dy, {1, 8}), MatrixView<float>(dx, {1, 8}));
  CHECK(dx == std::vector<float>{-2, -2, -2, -2, -2, 0, -2, 0});
  CHECK(std::signbit(dx[5]));
}

TEST_CASE("the two ways to form the quotient differ near ties", "[quantization]") {
  const struct {
    float x, scale;
    int reciprocal, divide;
  } cases[] = {{0.09f, 0.02f, 4, 5}, {0.385f, 0.11f, 3, 4}};
  for (const auto& c : cases) {
    const Matrix<float> x = [&] {
      Matrix<float> m({1, 1});
      m(0, 0) = c.x;
      return m;
    }();
    const auto code = [&](QuotientPolicy policy) {
      const std::vector<AffineParameters> parameters{{c.scale, 0}};
      return faked(x, parameters, {.lo = -8, .hi = 7, .quotient = policy})(0, 0) / c.scale;
    };
    CHECK(code(QuotientPolicy::reciprocal) == Approx(c.reciprocal));
    CHECK(code(QuotientPolicy::divide) == Approx(c.divide));
  }
}

TEST_CASE("with the dividing policy fake quantization gives the codes that ship",
          "[quantization]") {
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    if constexpr (F::is_integer) {
      Random random(31);
      const Index rows = 40;
      Vector<AffineParameters> parameters({rows});
      for (Index i = 0; i < rows; ++i) {
        typename F::Parameters p;
        p.scale = std::exp(random.uniform(-10.0f, 10.0f));
        F::set_zero_point(p, static_cast<int>(random.below(1u << F::code_bits)));
        parameters[i] = {p.scale, F::zero_point(p)};
      }
      const auto options = fake_quantize_options<F>(QuotientPolicy::divide);
      const auto check = [&](VectorView<const AffineParameters> channels) {
        const Matrix<float> x = difficult_values(channels, 203);
        const Matrix<float> y = faked(x, channels, options);
        for (Index i = 0; i < x.rows(); ++i) {
          typename F::Parameters p;
          p.scale = channels[i].scale;
          F::set_zero_point(p, channels[i].zero_point);
          for (Index j = 0; j < x.cols(); ++j) {
            const auto code = F::encode(x(i, j), p);
            CAPTURE(F::name, x(i, j), p.scale);
            REQUIRE(detail::FakeQuantizer(channels[i], options)
                        .level(detail::FakeQuantizer(channels[i], options).code(x(i, j))) ==
                    static_cast<float>(int{code} - F::zero_point(p)));
            REQUIRE(std::bit_cast<std::uint32_t>(y(i, j)) ==
                    std::bit_cast<std::uint32_t>(F::decode(code, p)));
          }
        }
      };
      check(parameters);
      check(detail::every_row(parameters[0], 3));
    }
  });
}

TEST_CASE("channels in columns are the rows of a transposed view", "[quantization]") {
  const Matrix<float> x = test::random_matrix(5, 3);
  const std::vector<AffineParameters> parameters{{0.1f, 0}, {0.2f, 1}, {0.3f, -1}};
  Matrix<float> y(x.shape());
  fake_quantize(x.view().transposed(), parameters, {.lo = -8, .hi = 7}, y.view().transposed());
  const Matrix<float> turned(x.view().transposed());
  const Matrix<float> expected = faked(turned, parameters, {.lo = -8, .hi = 7});
  CHECK(test::bit_differences(y.view().transposed(), expected) == 0);
}

TEST_CASE("fake quantization works in place, on strides and in any order of rows",
          "[quantization]") {
  for (const Index cols : {1, 3, 17, 33}) {
    const Matrix<float> x = test::random_matrix(4, cols);
    const std::vector<AffineParameters> parameters(4, AffineParameters{0.25f, 0});
    const Matrix<float> expected = faked(x, parameters, {});
    test::Strided<float> strided(x.view());
    const auto backwards = [](Index count, ParallelFor::Body body) {
      for (Index i = count; i-- > 0;) body(i);
    };
    fake_quantize(strided.view(), parameters, {}, strided.view(), {.parallel_for = backwards});
    CHECK(test::bit_differences(strided.view(), expected) == 0);
  }
  CHECK(faked(Matrix<float>({0, 3}), std::vector<AffineParameters>{}, {}).empty());
}

TEST_CASE("kernels and streaming stores do not change fake quantization", "[quantization]") {
  const std::vector<AffineParameters> parameters{{0.1f, 0}, {0.37f, -5}, {1e-35f, 100}};
  const Matrix<float> x = difficult_values(parameters, 215);
  for (const QuotientPolicy policy : {QuotientPolicy::reciprocal, QuotientPolicy::divide}) {
    Matrix<float> expected(x.shape());
    fake_quantize(x, parameters, {.quotient = policy}, expected, {.force = KernelName::reference});
    for (const KernelName kernel : {KernelName::avx2, KernelName::avx512})
      for (const Index streaming_bytes : {0, 1 << 30}) {
        if (!kernels::cpu_supports(kernel)) continue;
        Matrix<float> y(x.shape());
        fake_quantize(x, parameters, {.quotient = policy}, y, {.force = kernel},
                      {.streaming_bytes = streaming_bytes, .piece_bytes = 256});
        CHECK(y == expected);
      }
  }
}

TEST_CASE("in place or not, the element that is not finite is named", "[quantization]") {
  const AffineParameters parameters{0.1f, 3};
  Matrix<float> x = test::random_matrix(4, 100), y({4, 100});
  x(2, 70) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(fake_quantize(x, parameters, {}, y), Catch::Contains("NaN at [2, 70]"));
  CHECK_THROWS_WITH(fake_quantize(x, parameters, {}, x), Catch::Contains("NaN at [2, 70]"));
}

TEST_CASE("unusable scales, zero points, codes and shapes are refused", "[quantization]") {
  Matrix<float> x = test::random_matrix(2, 3);
  Matrix<float> y({2, 3}), wrong({3, 2});
  const auto run = [&](std::vector<AffineParameters> parameters, FakeQuantizeOptions options) {
    fake_quantize(x, parameters, options, y);
  };
  const float infinity = std::numeric_limits<float>::infinity();
  const float not_a_number = std::numeric_limits<float>::quiet_NaN();
  for (const float scale : {0.0f, -1.0f, infinity, not_a_number, 1e-45f})
    CHECK_THROWS_WITH(run({{1.0f, 0}, {scale, 0}}, {}), ContainsSubstring("channel 1"));
  CHECK_NOTHROW(run({{1.0f, 0}, {1e-45f, 0}}, {.quotient = QuotientPolicy::divide}));
  CHECK_THROWS_AS(run({{0.0f, 0}, {1.0f, 0}}, {}), ArgumentError);
  CHECK_THROWS_AS(run({{1.0f, 128}, {1.0f, 0}}, {}), ArgumentError);
  CHECK_THROWS_AS(run({{1.0f, 0}, {1.0f, -1}}, {.lo = 0, .hi = 15}), ArgumentError);
  CHECK_THROWS_AS(run({{1.0f, 3}, {1.0f, 3}}, {.lo = 3, .hi = 3}), ArgumentError);
  CHECK_THROWS_AS(run({{1.0f, 0}, {1.0f, 0}}, {.lo = -1, .hi = 1 << 21}), ArgumentError);
  CHECK_THROWS_AS(run({{1.0f, 0}}, {}), ShapeError);
  CHECK_THROWS_AS(fake_quantize(x, {1.0f, 0}, {}, wrong), ShapeError);
  CHECK_THROWS_AS(fake_quantize_backward(x, {1.0f, 0}, {}, wrong, y), ShapeError);
  CHECK_THROWS_AS(fake_quantize_backward(x, {1.0f, 0}, {}, y, wrong), ShapeError);
  x(1, 2) = infinity;
  CHECK_THROWS_WITH(run({{1.0f, 0}, {1.0f, 0}}, {}), "x holds infinity at [1, 2]");
}
