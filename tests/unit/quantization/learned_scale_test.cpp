#include "pare/quantization/learned_scale.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "pare/io/json.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"
#include "support/tolerance.hpp"

using namespace pare;

TEST_CASE("gradients of a learned scale agree with PyTorch", "[quantization]") {
  const auto file = SafetensorsReader::open(PARE_TEST_DATA_DIR "/fake_quantize.safetensors");
  const auto about = parse_json(file.metadata().at("lsq"));
  const AffineParameters parameters{about.at("scale").get<float>(),
                                    about.at("zero_point").get<std::int32_t>()};
  const FakeQuantizeOptions options{.lo = about.at("qmin").get<std::int32_t>(),
                                    .hi = about.at("qmax").get<std::int32_t>()};
  const Matrix<float> x = file.read_matrix("lsq.x");
  Matrix<float> y(x.shape()), dx(x.shape());
  fake_quantize(x, parameters, options, y);
  CHECK(test::bit_differences(y, file.read_matrix("lsq.y")) == 0);

  const float factor = learned_scale_factor(x.size(), options);
  CHECK(factor == Approx(about.at("grad_factor").get<double>()).epsilon(1e-7));
  const double d_scale =
      learned_scale_backward(x, parameters, options, factor, file.read_matrix("lsq.upstream"), dx);
  CHECK(test::bit_differences(dx, file.read_matrix("lsq.grad_x")) == 0);
  CHECK(d_scale == Approx(file.read_vector("lsq.grad_scale")[0]).epsilon(1e-5));
}

TEST_CASE("each region of a learned scale has its slope", "[quantization]") {
  // Scale 2, codes -2..1, zero point 0. Inside, the slope is (y - x) / scale.
  const struct {
    float x;
    double slope;
    float passed;
  } cases[] = {{0.5f, -0.25, 1}, {1.5f, 0.25, 1},  {2.5f, -0.25, 1}, {3.5f, 1, 0},  {100.0f, 1, 0},
               {-3.0f, -0.5, 1}, {-4.5f, 0.25, 1}, {-6.0f, -2, 0},   {-1e9f, -2, 0}};
  for (const auto& c : cases) {
    CAPTURE(c.x);
    Matrix<float> x({1, 1}), dy({1, 1}), dx({1, 1});
    x(0, 0) = c.x;
    dy(0, 0) = 3.0f;
    const double d_scale = learned_scale_backward(x, {2.0f, 0}, {.lo = -2, .hi = 1}, 0.5f, dy, dx);
    CHECK(d_scale == 3.0 * 0.5 * c.slope);
    CHECK(dx(0, 0) == 3.0f * c.passed);
  }
}

TEST_CASE("every channel has the gradient of its own scale", "[quantization]") {
  const Matrix<float> x = test::random_matrix(3, 17, 1), dy = test::random_matrix(3, 17, 2);
  const std::vector<AffineParameters> parameters{{0.1f, 0}, {0.5f, 2}, {2.0f, -1}};
  const FakeQuantizeOptions options{.lo = -4, .hi = 3, .quotient = QuotientPolicy::divide};
  Matrix<float> dx(x.shape()), dx_row({1, 17});
  Vector<double> d_scale({3});
  learned_scale_backward(x, parameters, options, 1.0f, dy, dx, d_scale);
  for (Index i = 0; i < 3; ++i) {
    const double alone =
        learned_scale_backward(x.view().slice(0, i, 1), parameters[static_cast<std::size_t>(i)],
                               options, 1.0f, dy.view().slice(0, i, 1), dx_row);
    CHECK(d_scale[i] == alone);
    CHECK(test::bit_differences(dx.view().slice(0, i, 1), dx_row) == 0);
  }
  Vector<double> wrong({2});
  CHECK_THROWS_AS(learned_scale_backward(x, parameters, options, 1.0f, dy, dx, wrong), ShapeError);
}

TEST_CASE("a gradient step on the scale lowers the error of quantization", "[quantization]") {
  const Matrix<float> x = test::random_matrix(8, 64, 5);
  const FakeQuantizeOptions options{.lo = -4, .hi = 3};
  Matrix<float> y(x.shape()), dy(x.shape()), dx(x.shape());
  const auto loss = [&](float scale) {
    fake_quantize(x, {scale, 0}, options, y);
    double sum = 0.0;
    for (Index k = 0; k < x.size(); ++k) {
      dy.data()[k] = y.data()[k] - x.data()[k];
      sum += 0.5 * double{dy.data()[k]} * double{dy.data()[k]};
    }
    return sum / static_cast<double>(x.size());
  };
  float scale = learned_scale_start(x, options);
  const double before = loss(scale);
  for (int step = 0; step < 50; ++step) {
    (void)loss(scale);
    const double gradient = learned_scale_backward(x, {scale, 0}, options, 1.0f, dy, dx);
    scale -= 0.5f * static_cast<float>(gradient / static_cast<double>(x.size()));
  }
  CHECK(loss(scale) < 0.8 * before);
}

TEST_CASE("the first scale and the gradient factor follow the paper", "[quantization]") {
  const std::vector<float> x{1, -3, 2, -2};
  const FakeQuantizeOptions options{.lo = -5, .hi = 4};
  CHECK(learned_scale_start(MatrixView<const float>(x, {2, 2}), options) == 2.0f);
  CHECK(learned_scale_start(Matrix<float>({2, 2}), options) == 1.0f);
  CHECK(learned_scale_factor(25, options) == 0.1f);
  CHECK_THROWS_AS(learned_scale_factor(0, options), ArgumentError);
  CHECK_THROWS_AS(learned_scale_factor(5, {.lo = -1, .hi = 0}), ArgumentError);
  CHECK_THROWS_AS(learned_scale_start(Matrix<float>({0, 2}), options), ArgumentError);
}
