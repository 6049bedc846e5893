#include "pare/quantization/gptq.hpp"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/formats/all.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/quantization/quantize.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

/// sum over rows of (w - q) H (w - q)ᵀ in double.
double hessian_loss(MatrixView<const float> w, MatrixView<const float> q,
                    MatrixView<const double> h) {
  double loss = 0.0;
  std::vector<double> d(static_cast<std::size_t>(w.cols()));
  for (Index i = 0; i < w.rows(); ++i) {
    for (Index j = 0; j < w.cols(); ++j)
      d[static_cast<std::size_t>(j)] = static_cast<double>(w(i, j)) - static_cast<double>(q(i, j));
    for (Index j = 0; j < w.cols(); ++j) {
      const double* const row = &h(j, 0);
      double sum = 0.0;
      for (Index k = 0; k < w.cols(); ++k) sum += row[k] * d[static_cast<std::size_t>(k)];
      loss += d[static_cast<std::size_t>(j)] * sum;
    }
  }
  return loss;
}

/// A layer whose inputs are correlated, as real ones are; `rank` below `inputs` makes H singular.
struct Layer {
  Matrix<float> w;
  Hessian h;

  Layer(Index rows, Index inputs, Index tokens = 400, Index rank = 1 << 20)
      : w(test::random_matrix(rows, inputs, 1)), h(inputs) {
    rank = std::min(rank, inputs);
    const Matrix<float> sources = test::random_matrix(tokens, rank, 2),
                        mixing = test::random_matrix(rank, inputs, 3);
    Matrix<float> x({tokens, inputs});
    for (Index t = 0; t < tokens; ++t)
      for (Index s = 0; s < rank; ++s)
        for (Index j = 0; j < inputs; ++j) x(t, j) += sources(t, s) * mixing(s, j);
    for (Index t = 0; t < tokens; ++t)
      for (Index j = 0; j < inputs; ++j)
        x(t, j) = x(t, j) * std::exp2(static_cast<float>(j % 7) - 5.0f);
    h.add(x);
  }

  template <Format F>
  double loss(const QuantizedMatrix<F>& q) const {
    return hessian_loss(w, dequantize(q), h.matrix());
  }
};

/// One case of the authors' code.
struct Reference {
  GptqOptions options;
  int bits;
  bool symmetric;
  double loss;
  Matrix<float> dequantized;
};

struct Oracle {
  SafetensorsReader file =
      SafetensorsReader::open(std::string(PARE_TEST_DATA_DIR) + "/gptq.safetensors");
  Matrix<float> w = file.read_matrix("weight");
  Hessian h = Hessian::from_matrix(file.read_matrix("hessian").view(), 3);
  static constexpr int cases = 34;

  Reference reference(int k) const {
    const std::string name = "case" + std::to_string(k);
    const auto meta = nlohmann::json::parse(file.metadata().at(name));
    Reference r;
    r.bits = meta.at("bits");
    r.symmetric = meta.at("symmetric");
    r.loss = meta.at("loss");
    r.dequantized = file.read_matrix(name + ".dequantized");
    r.options.group_size = meta.at("group_size");
    r.options.act_order = meta.at("act_order");
    r.options.static_groups = meta.at("static_groups");
    r.options.damping = meta.at("damping");
    r.options.block_size = meta.at("block_size");
    r.options.range.denominator = SymmetricDenominator::half_range;
    if (meta.at("mse")) r.options.range.method = RangeMethod::mse_clip;
    return r;
  }

  Matrix<float> run(const Reference& r) const {
    const std::string format = (r.symmetric ? "int" : "uint") + std::to_string(r.bits);
    const TypeList<Int<2>, Int<3>, Int<4>, Int<8>, UInt<2>, UInt<3>, UInt<4>, UInt<8>> formats;
    return with_named(formats, "format", format,
                      [&]<class F>(TypeTag<F>) { return dequantize(gptq<F>(w, h, r.options)); });
  }
};

}  // namespace

TEST_CASE("gptq agrees with the authors' code") {
  const Oracle oracle;
  for (int k = 0; k < Oracle::cases; ++k) {
    Reference r = oracle.reference(k);
    r.options.scale_type = ScaleType::f32;
    const Matrix<float> q = oracle.run(r);
    Index agreeing = 0;
    for (Index i = 0; i < q.size(); ++i)
      agreeing += std::fabs(q.data()[i] - r.dequantized.data()[i]) <= 1e-5f;
    const double loss = hessian_loss(oracle.w, q, oracle.h.matrix());
    CAPTURE(k, loss / r.loss, q.size() - agreeing);
    CHECK(loss <= 1.005 * r.loss);
    CHECK(static_cast<double>(agreeing) >= 0.995 * static_cast<double>(q.size()));
  }
}

TEST_CASE("16-bit scales cost next to nothing") {
  const Oracle oracle;
  double log_sum = 0.0;
  for (int k = 0; k < Oracle::cases; ++k) {
    Reference r = oracle.reference(k);
    r.options.scale_type = ScaleType::f16;
    const double ratio = hessian_loss(oracle.w, oracle.run(r), oracle.h.matrix()) / r.loss;
    CAPTURE(k, ratio);
    CHECK(ratio <= 1.015);
    log_sum += std::log(ratio);
  }
  CHECK(std::exp(log_sum / Oracle::cases) <= 1.005);
}

TEMPLATE_TEST_CASE("gptq beats nearest rounding in every kind of format", "", Int<2>, Int<3>,
                   Int<4>, Int<8>, UInt<2>, UInt<4>, UInt<8>, NF4) {
  const Layer layer(33, 96);
  for (const Index group : {-1, 32}) {
    const double nearest = layer.loss(quantize<TestType>(layer.w, {.group_size = group}));
    for (const bool act_order : {false, true})
      for (const bool static_groups : {false, true}) {
        CAPTURE(group, act_order, static_groups);
        const auto q = gptq<TestType>(
            layer.w, layer.h,
            {.group_size = group, .act_order = act_order, .static_groups = static_groups});
        CHECK(layer.loss(q) < 0.8 * nearest);
      }
  }
}

TEST_CASE("a diagonal Hessian leaves nothing to compensate: gptq rounds to nearest") {
  const Index n = 50;
  Matrix<double> diagonal({n, n});
  for (Index j = 0; j < n; ++j) diagonal(j, j) = 1.0 + static_cast<double>(j);
  const Hessian h = Hessian::from_matrix(diagonal, 1);
  const Matrix<float> w = test::random_matrix(17, n);
  for (const Index group : {-1, 16}) {
    const auto nearest = quantize<UInt<4>>(w, {.group_size = group});
    CHECK(gptq<UInt<4>>(w, h, {.group_size = group}) == nearest);
    CHECK(gptq<UInt<4>>(w, h, {.group_size = group, .act_order = true, .static_groups = true}) ==
          nearest);
  }
}

TEST_CASE("gptq handles ragged groups, rows and blocks") {
  struct Case {
    Index rows, group, block;
  };
  for (const auto& [rows, group, block] :
       {Case{0, 64, 128}, Case{1, -1, 100}, Case{1, 7, 128}, Case{15, 250, 128}, Case{17, 64, 100},
        Case{17, 7, 100}, Case{33, -1, 128}, Case{33, 64, 128}}) {
    CAPTURE(rows, group, block);
    const Layer layer(rows, 250, 300);
    const auto nearest = quantize<Int<4>>(layer.w, {.group_size = group});
    const auto q = gptq<Int<4>>(layer.w, layer.h, {.group_size = group, .block_size = block});
    CHECK(q.rows() == rows);
    CHECK(q.groups() == nearest.groups());
    if (rows > 0) CHECK(layer.loss(q) < 0.9 * layer.loss(nearest));
  }
}

TEST_CASE("without groups of its own the block size only changes rounding errors") {
  const Layer layer(17, 130);
  const double whole = layer.loss(gptq<Int<3>>(layer.w, layer.h, {.block_size = 130}));
  for (const Index block : {1, 16, 64})
    CHECK(layer.loss(gptq<Int<3>>(layer.w, layer.h, {.block_size = block})) ==
          Approx(whole).epsilon(0.02));
}

TEST_CASE("act_order without static groups gathers groups in visiting order") {
  const Layer layer(5, 70);
  const auto q = gptq<UInt<4>>(layer.w, layer.h, {.group_size = 32, .act_order = true});
  REQUIRE(q.group_index().size() == 70);
  const Matrix<double> h = layer.h.matrix();
  for (Index a = 0; a < 70; ++a)
    for (Index b = 0; b < 70; ++b)
      if (q.group_of(a) < q.group_of(b)) CHECK(h(a, a) >= h(b, b));
  CHECK(
      gptq<UInt<4>>(layer.w, layer.h, {.group_size = 32, .act_order = true, .static_groups = true})
          .group_index()
          .empty());
  CHECK(gptq<UInt<4>>(layer.w, layer.h, {.act_order = true}).group_index().empty());
}

TEST_CASE("gptq gives the same bits for any number of threads") {
  const Layer layer(75, 200);
  const GptqOptions options{.group_size = 24, .act_order = true};
  const auto serial = gptq<Int<4>>(layer.w, layer.h, options);
  for (const int threads : {1, 2, 3})
    CHECK(gptq<Int<4>>(layer.w, layer.h, options, {.parallel_for = OpenMpFor(threads)}) == serial);
}

TEST_CASE("gptq reads strided weights") {
  const Layer layer(18, 40);
  const test::Strided<float> strided(layer.w);
  CHECK(gptq<NF4>(strided.view(), layer.h, {.group_size = 16}) ==
        gptq<NF4>(layer.w, layer.h, {.group_size = 16}));
}

TEST_CASE("the sweep's account of the loss is the loss with the damped Hessian") {
  const Layer layer(20, 64);
  GptqReport report;
  const auto q = gptq<Int<3>>(layer.w, layer.h, {.damping = 0.02, .report = &report});
  Matrix<double> damped = layer.h.matrix();
  double mean = 0.0;
  for (Index j = 0; j < 64; ++j) mean += damped(j, j) / 64;
  for (Index j = 0; j < 64; ++j) damped(j, j) += 0.02 * mean;
  CHECK(report.loss == Approx(hessian_loss(layer.w, dequantize(q), damped)).epsilon(1e-4));
  CHECK(report.damping == 0.02);
  CHECK(report.attempts == 1);
  CHECK(report.dead_inputs == 0);
  CHECK_FALSE(report.scales_widened);
}

TEST_CASE("weights of dead inputs become zero, and count for whole-row ranges only") {
  Layer layer(3, 8);
  Matrix<double> h = layer.h.matrix();
  for (Index j = 0; j < 8; ++j) h(5, j) = h(j, 5) = 0.0;
  for (Index i = 0; i < 3; ++i) layer.w(i, 5) = 100.0f;
  const Hessian dead = Hessian::from_matrix(h.view(), 400);
  GptqReport report;
  const auto rows = gptq<Int<8>>(layer.w, dead, {.report = &report});
  const auto groups = gptq<Int<8>>(layer.w, dead, {.group_size = 8});
  CHECK(report.dead_inputs == 1);
  for (Index i = 0; i < 3; ++i) {
    CHECK(rows.value(i, 5) == 0.0f);
    CHECK(groups.value(i, 5) == 0.0f);
    CHECK(rows.parameters()(i, 0).scale == 100.0f / 127.0f);
    CHECK(groups.parameters()(i, 0).scale < 5.0f / 127.0f);
  }
}

TEST_CASE("singular and indefinite Hessians succeed, and the damping used is reported") {
  GptqReport report;
  const Layer singular(9, 60, 50, 4);
  const auto q = gptq<Int<4>>(singular.w, singular.h, {.damping = 0.0, .report = &report});
  CHECK(singular.loss(q) < singular.loss(quantize<Int<4>>(singular.w)));

  const Layer layer(9, 60);
  Matrix<double> h = layer.h.matrix();
  h(13, 6) = h(6, 13) = 2.0 * std::sqrt(h(6, 6) * h(13, 13));
  const auto kept = gptq<Int<4>>(layer.w, Hessian::from_matrix(h.view(), 1), {.report = &report});
  CHECK(report.attempts > 1);
  CHECK(report.damping > 0.01);
  for (Index j = 0; j < 60; ++j) CHECK(std::isfinite(kept.value(8, j)));
}

TEST_CASE("scales that do not fit float16 are kept in float32 and reported") {
  Layer layer(4, 16);
  for (Index j = 0; j < 16; ++j) layer.w(2, j) *= 1e8f;
  GptqReport report;
  for (const bool static_groups : {false, true}) {
    const auto q = gptq<Int<4>>(
        layer.w, layer.h, {.group_size = 8, .static_groups = static_groups, .report = &report});
    CHECK(q.scale_type() == ScaleType::f32);
    CHECK(report.scales_widened);
    CHECK(q ==
          gptq<Int<4>>(
              layer.w, layer.h,
              {.group_size = 8, .scale_type = ScaleType::f32, .static_groups = static_groups}));
  }
}

TEST_CASE("scales below float16 are raised and counted where files know no other type") {
  Layer layer(4, 64);
  for (Index j = 0; j < 64; ++j) layer.w(2, j) *= 1e-9f;
  const auto check = [&]<class F>(TypeTag<F>, bool static_groups) {
    CAPTURE(F::name, static_groups);
    GptqReport report;
    const auto q = gptq<F>(layer.w, layer.h,
                           {.group_size = 32,
                            .scale_type = ScaleType::f16,
                            .range = {.underflow = ScaleUnderflow::smallest},
                            .static_groups = static_groups,
                            .report = &report});
    CHECK(q.scale_type() == ScaleType::f16);
    CHECK_FALSE(report.scales_widened);
    CHECK(report.scales_raised == 2);
    for (Index g = 0; g < 2; ++g) CHECK(q.parameters()(2, g).scale == smallest_f16_scale);
  };
  for (const bool static_groups : {false, true}) {
    check(TypeTag<Int<4>>{}, static_groups);
    check(TypeTag<UInt<4>>{}, static_groups);
  }
}

TEST_CASE("a zero matrix stays zero") {
  const Layer layer(3, 20);
  const Matrix<float> zero({3, 20});
  const auto check = [&]<class F>(TypeTag<F>) {
    const Matrix<float> q = dequantize(gptq<F>(zero, layer.h, {.group_size = 8}));
    for (Index i = 0; i < q.size(); ++i) CHECK(q.data()[i] == 0.0f);
  };
  check(TypeTag<Int<4>>{});
  check(TypeTag<UInt<3>>{});
  check(TypeTag<NF4>{});
}

TEST_CASE("a matrix without columns has nothing to quantize") {
  const auto q =
      gptq<Int<4>>(Matrix<float>({3, 0}), Hessian::from_matrix(Matrix<double>({0, 0}), 1));
  CHECK(q.rows() == 3);
  CHECK(q.groups() == 0);
}

TEST_CASE("gptq refuses what it cannot quantize") {
  const Layer layer(3, 20);
  CHECK_THROWS_AS(gptq<Int<4>>(test::random_matrix(3, 21), layer.h), ShapeError);
  for (const Index group : {0, -2, 21})
    CHECK_THROWS_AS(gptq<Int<4>>(layer.w, layer.h, {.group_size = group}), ArgumentError);
  CHECK_THROWS_AS(gptq<Int<4>>(layer.w, layer.h, {.block_size = 0}), ArgumentError);
  CHECK_THROWS_AS(gptq<Int<4>>(layer.w, layer.h, {.damping = -1.0}), ArgumentError);
  CHECK_THROWS_AS(gptq<Int<4>>(layer.w, layer.h, {.range = {.grid = 0}}), ArgumentError);
  Matrix<float> broken = layer.w;
  broken(1, 19) = NAN;
  CHECK_THROWS_WITH(gptq<Int<4>>(broken, layer.h), "weight holds NaN at [1, 19]");
}

TEST_CASE("layers that share an input share its factor") {
  const Layer layer(33, 96);
  for (const bool act_order : {false, true}) {
    GptqReport report, expected_report;
    GptqOptions options{.group_size = 32, .act_order = act_order, .report = &expected_report};
    const ObsFactor factor(layer.h, options.factor());
    const auto expected = gptq<Int<4>>(layer.w, layer.h, options);
    options.report = &report;
    CHECK(dequantize(gptq<Int<4>>(layer.w, factor, options)) == dequantize(expected));
    CHECK(report.loss == expected_report.loss);
    CHECK(factor.in_features() == 96);
    options.damping = 0.02;
    CHECK_THROWS_AS(gptq<Int<4>>(layer.w, factor, options), ArgumentError);
    CHECK_THROWS_AS(gptq<Int<4>>(layer.w.view().slice(1, 0, 95), factor), ShapeError);
  }
}
