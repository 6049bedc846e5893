#include <cmath>
#include <string>
#include <vector>

#include "pare/kernels/gemm.hpp"
#include "pare/quantization/dorefa.hpp"
#include "pare/quantization/learned_scale.hpp"
#include "pare/quantization/lsq_plus.hpp"
#include "pare/quantization/pact.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::DistillationOracle;
using test::error_of_largest;

namespace {

/// These quantizers compute in float.
constexpr double trained_tolerance = 1e-6;

/// A learned scale for tensors, channels or groups, as other implementations have it.
struct LearnedCase {
  const char* name;
  Index row_length;  ///< values that share a scale
  FakeQuantizeOptions options;
  double factor_count;  ///< of 1 / sqrt(count * hi)
};

const LearnedCase learned_cases[] = {
    {"lsq.tensor_int3", 48, {-4, 3, QuotientPolicy::divide, InsideRange::before_rounding}, 48},
    {"lsq.unsigned_uint2", 48, {0, 3, QuotientPolicy::divide, InsideRange::before_rounding}, 48},
    {"lsq.channel_int4", 8, {-8, 7, QuotientPolicy::divide, InsideRange::before_rounding}, 48},
    {"lsq.group8_int2", 8, {-2, 1}, 8},
    {"lsq.group8_int3", 8, {-4, 3}, 8},
    {"lsq.group8_int4", 8, {-8, 7}, 8},
};

}  // namespace

TEST_CASE("learned scales are those of PyTorch and of lsq-net") {
  const DistillationOracle oracle;
  for (const LearnedCase& c : learned_cases) {
    CAPTURE(c.name);
    const Matrix<float> x = oracle.input<float>(c.name, "x");
    const Matrix<float> upstream = oracle.tensor<float>(std::string(c.name) + ".upstream");
    const Matrix<double> expected = oracle.tensor<double>(std::string(c.name) + ".y");
    const Shape<2> grouped{x.size() / c.row_length, c.row_length};
    std::vector<AffineParameters> parameters;
    const std::string scales = oracle.meta(c.name).at("inputs").at("s");
    const bool is_vector = grouped[0] == 1;
    const Matrix<float> s = is_vector ? Matrix<float>({1, 1}) : oracle.tensor<float>(scales);
    for (Index i = 0; i < grouped[0]; ++i)
      parameters.push_back({is_vector ? oracle.tensor<float, 1>(scales)[0] : s(i, 0), 0});
    Matrix<float> y(x.shape()), dx(x.shape());
    fake_quantize({x.span(), grouped}, parameters, c.options, {y.span(), grouped});
    CHECK(error_of_largest(y, expected) <= trained_tolerance);
    Vector<double> d({grouped[0]});
    const auto factor =
        static_cast<float>(1.0 / std::sqrt(c.factor_count * static_cast<double>(c.options.hi)));
    learned_scale_backward({x.span(), grouped}, parameters, c.options, factor,
                           {upstream.span(), grouped}, {dx.span(), grouped}, d);
    // The reference of unsigned codes has a ReLU in front, without a slope at 0.
    for (Index i = 0; i < x.size(); ++i)
      if (c.options.lo == 0 && x.data()[i] == 0.0f) dx.data()[i] = 0.0f;
    CHECK(error_of_largest(dx, oracle.gradient(c.name, "x")) <= trained_tolerance);
    Matrix<double> ds({grouped[0], 1});
    std::copy(d.begin(), d.end(), ds.begin());
    const double tolerance = 1e-5;
    if (is_vector)
      CHECK(d[0] == Approx(oracle.gradient<1>(c.name, "s")[0]).epsilon(tolerance));
    else
      CHECK(error_of_largest(ds, oracle.gradient(c.name, "s")) <= tolerance);
  }
}

TEST_CASE("a learned zero point is PyTorch's") {
  const DistillationOracle oracle;
  const char* name = "learned.channel_uint4_zero_point";
  const Matrix<float> x = oracle.input<float>(name, "x"), s = oracle.input<float>(name, "s");
  const Vector<float> z = oracle.input<float, 1>(name, "z");
  const Matrix<float> upstream = oracle.tensor<float>(std::string(name) + ".upstream");
  std::vector<AffineParameters> parameters;
  for (Index i = 0; i < x.rows(); ++i)
    parameters.push_back({s(i, 0), static_cast<std::int32_t>(std::lrint(z[i]))});
  const FakeQuantizeOptions options{0, 15};
  Matrix<float> dx(x.shape()), y(x.shape());
  Vector<double> ds({6}), dz({6});
  fake_quantize(x, parameters, options, y);
  learned_scale_backward(x, parameters, options, 0.25f, upstream, dx, ds);
  learned_zero_point_backward(x, parameters, options, 0.25f, upstream, dz);
  CHECK(error_of_largest(y, oracle.tensor<double>(std::string(name) + ".y")) <= trained_tolerance);
  CHECK(error_of_largest(dx, oracle.gradient(name, "x")) <= trained_tolerance);
  CHECK(error_of_largest(dz, oracle.gradient<1>(name, "z")) <= 1e-5);
  Matrix<double> ds_column({6, 1});
  std::copy(ds.begin(), ds.end(), ds_column.begin());
  CHECK(error_of_largest(ds_column, oracle.gradient(name, "s")) <= 1e-5);
}

TEST_CASE("LSQ+ learns an offset as its reference does") {
  const DistillationOracle oracle;
  const char* name = "lsqplus.uint3_offset";
  const Matrix<float> x = oracle.input<float>(name, "x");
  const Matrix<float> upstream = oracle.tensor<float>(std::string(name) + ".upstream");
  const float s = oracle.input<float, 1>(name, "s")[0],
              beta = oracle.input<float, 1>(name, "beta")[0];
  const auto factor = static_cast<float>(1.0 / std::sqrt(48.0 * 7.0));
  for (const InsideRange inside : {InsideRange::before_rounding, InsideRange::after_rounding}) {
    const FakeQuantizeOptions options{0, 7, QuotientPolicy::divide, inside};
    Matrix<float> y(x.shape()), dx(x.shape());
    lsq_plus(x, s, beta, options, y);
    CHECK(error_of_largest(y, oracle.tensor<double>(std::string(name) + ".y")) <=
          trained_tolerance);
    const LsqPlusGradient d = lsq_plus_backward(x, s, beta, options, factor, upstream, dx);
    if (inside == InsideRange::after_rounding) continue;
    CHECK(error_of_largest(dx, oracle.gradient(name, "x")) <= trained_tolerance);
    CHECK(d.scale == Approx(oracle.gradient<1>(name, "s")[0]).epsilon(1e-5));
    CHECK(d.offset == Approx(oracle.gradient<1>(name, "beta")[0]).epsilon(1e-5));
  }
  // Normal weights: three deviations fit.
  CHECK(lsq_plus_scale_start(test::random_matrix(100, 100, 1), 4) ==
        Approx(3.0 / 8.0).epsilon(0.05));
  CHECK(lsq_plus_scale_start(Matrix<float>({2, 2}), 4) == 1.0f);
  CHECK_THROWS_AS(lsq_plus_scale_start(Matrix<float>({0, 2}), 4), ArgumentError);
}

TEST_CASE("PACT and DoReFa are the papers'") {
  const DistillationOracle oracle;
  const auto upstream = [&](const std::string& name) {
    return oracle.tensor<float>(name + ".upstream");
  };
  const auto expected = [&](const std::string& name) { return oracle.tensor<double>(name + ".y"); };
  for (const int bits : {2, 4}) {
    const std::string name = "pact." + std::to_string(bits) + "bit";
    CAPTURE(name);
    const Matrix<float> x = oracle.input<float>(name, "x");
    const float alpha = oracle.input<float, 1>(name, "alpha")[0];
    Matrix<float> y(x.shape()), dx(x.shape());
    pact(x, alpha, bits, y);
    CHECK(error_of_largest(y, expected(name)) <= trained_tolerance);
    CHECK(pact_backward(x, alpha, upstream(name), dx) ==
          Approx(oracle.gradient<1>(name, "alpha")[0]).epsilon(1e-6));
    CHECK(error_of_largest(dx, oracle.gradient(name, "x")) <= trained_tolerance);
  }
  {
    const char* name = "dorefa.activation_2bit";
    const Matrix<float> x = oracle.input<float>(name, "x");
    Matrix<float> y(x.shape()), dx(x.shape());
    dorefa_activation(x, 2, y);
    dorefa_activation_backward(x, upstream(name), dx);
    CHECK(error_of_largest(y, expected(name)) <= trained_tolerance);
    CHECK(error_of_largest(dx, oracle.gradient(name, "x")) <= trained_tolerance);
  }
  for (const bool through : {false, true}) {
    const std::string name =
        std::string("dorefa.weight_int3_") + (through ? "through_max" : "max_constant");
    CAPTURE(name);
    const Matrix<float> w = oracle.input<float>(name, "w");
    Matrix<float> y(w.shape()), dw(w.shape());
    dorefa_weight(w, 3, y);
    dorefa_weight_backward(w, upstream(name), dw, through);
    CHECK(error_of_largest(y, expected(name)) <= trained_tolerance);
    CHECK(error_of_largest(dw, oracle.gradient(name, "w")) <= trained_tolerance);
  }
  {
    const std::string name = "dorefa.gradient_4bit";
    const Matrix<float> d = oracle.tensor<float>(name + ".dr"),
                        noise = oracle.tensor<float>(name + ".noise");
    Matrix<float> y(d.shape());
    dorefa_gradient(d, noise, 4, y);
    CHECK(error_of_largest(y, expected(name)) <= trained_tolerance);
    Random random(3);
    for (const float v : dorefa_noise({20, 20}, random)) CHECK(std::fabs(v) <= 0.5f);
  }
}

TEST_CASE("fake quantization passes gradients straight through, of layers and of tokens") {
  const DistillationOracle oracle;
  {
    const std::string name = "ste.linear_group8_int4";
    const Matrix<float> w = oracle.input<float>(name, "w"), s = oracle.input<float>(name, "s");
    const Matrix<float> x = oracle.input<float>(name, "x");
    const Matrix<float> upstream = oracle.tensor<float>(name + ".upstream");
    std::vector<AffineParameters> parameters;
    for (Index i = 0; i < 8; ++i) parameters.push_back({s(i, 0), 0});
    const FakeQuantizeOptions options{-8, 7};
    Matrix<float> used(w.shape()), y({5, 4}), dx(x.shape()), dw(w.shape());
    fake_quantize({w.span(), {8, 8}}, parameters, options, {used.span(), {8, 8}});
    gemm(1.0f, x, used.view().transposed(), y);
    gemm(1.0f, upstream, used, dx);
    gemm(1.0f, upstream.view().transposed(), x, dw);
    fake_quantize_backward({w.span(), {8, 8}}, parameters, options, {dw.span(), {8, 8}},
                           {dw.span(), {8, 8}});
    CHECK(error_of_largest(y, oracle.tensor<double>(name + ".y")) <= trained_tolerance);
    CHECK(error_of_largest(dx, oracle.gradient(name, "x")) <= trained_tolerance);
    CHECK(error_of_largest(dw, oracle.gradient(name, "w")) <= trained_tolerance);
  }
  {
    const std::string name = "ste.token_int8";
    const Matrix<float> x = oracle.input<float>(name, "x");
    std::vector<AffineParameters> parameters;
    for (Index i = 0; i < x.rows(); ++i) {
      float largest = 0.0f;
      for (Index j = 0; j < x.cols(); ++j) largest = std::max(largest, std::fabs(x(i, j)));
      parameters.push_back({largest / 127.0f, 0});
    }
    const FakeQuantizeOptions options{-127, 127, QuotientPolicy::divide};
    Matrix<float> y(x.shape()), dx(x.shape());
    fake_quantize(x, parameters, options, y);
    fake_quantize_backward(x, parameters, options, oracle.tensor<float>(name + ".upstream"), dx);
    CHECK(error_of_largest(y, oracle.tensor<double>(name + ".y")) <= trained_tolerance);
    CHECK(error_of_largest(dx, oracle.gradient(name, "x")) <= trained_tolerance);
  }
}

TEST_CASE("trained quantizers refuse what they cannot round") {
  Matrix<float> x({2, 3}), y({2, 3}), other({3, 2}), nan({2, 3});
  nan(1, 1) = std::nanf("");
  CHECK_THROWS_AS(pact(x, 0.0f, 4, y), ArgumentError);
  CHECK_THROWS_AS(pact(x, 1.0f, 0, y), ArgumentError);
  CHECK_THROWS_AS(pact(x, 1.0f, 4, other), ShapeError);
  CHECK_THROWS_AS(pact(nan, 1.0f, 4, y), NumericError);
  CHECK_THROWS_AS(dorefa_weight(nan, 4, y), NumericError);
  CHECK_THROWS_AS(dorefa_weight(x, 17, y), ArgumentError);
  CHECK_THROWS_AS(dorefa_gradient(x, other, 4, y), ShapeError);
  CHECK_THROWS_AS(lsq_plus(x, 1.0f, std::nanf(""), {0, 7}, y), ArgumentError);
  CHECK_THROWS_AS(lsq_plus(x, 0.0f, 0.0f, {0, 7}, y), ArgumentError);
}
