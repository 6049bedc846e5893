#include "pare/quantization/awq.hpp"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "pare/calibration/activation_statistics.hpp"
#include "pare/core/parallel_openmp.hpp"
#include "pare/formats/all.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/quantization/awq_clip.hpp"
#include "support/catch.hpp"
#include "support/own_formats.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

Vector<float> mean_abs(MatrixView<const float> x) {
  ActivationStatistics statistics(x.cols());
  statistics.add(x);
  return statistics.mean_abs();
}

/// Mean squared difference between x aᵀ and x bᵀ.
double output_error(MatrixView<const float> x, MatrixView<const float> a,
                    MatrixView<const float> b) {
  Matrix<double> difference({a.rows(), a.cols()});
  for (Index i = 0; i < a.rows(); ++i)
    for (Index c = 0; c < a.cols(); ++c)
      difference(i, c) = static_cast<double>(a(i, c)) - static_cast<double>(b(i, c));
  double sum = 0.0;
  for (Index t = 0; t < x.rows(); ++t)
    for (Index i = 0; i < a.rows(); ++i) {
      const float* const token = &x(t, 0);
      const double* const row = &difference(i, 0);
      double y = 0.0;
      for (Index c = 0; c < a.cols(); ++c) y += static_cast<double>(token[c]) * row[c];
      sum += y * y;
    }
  return sum / static_cast<double>(x.rows() * a.rows());
}

/// One linear layer that is searched on its own output, with what the authors' code found.
struct Layer {
  int bits;
  AwqOptions options;
  float ratio;
  Matrix<float> w, x;
  Vector<float> scales, grid_losses;
  Matrix<float> maxima;

  explicit Layer(int k) {
    const auto file = SafetensorsReader::open(std::string(PARE_TEST_DATA_DIR) + "/awq.safetensors");
    const std::string name = "case" + std::to_string(k);
    const auto meta = nlohmann::json::parse(file.metadata().at(name));
    bits = meta.at("bits");
    options.group_size = meta.at("group_size");
    ratio = meta.at("best_ratio");
    w = file.read_matrix(name + ".weight");
    x = file.read_matrix(name + ".activations");
    scales = file.read_vector(name + ".scales");
    grid_losses = file.read_vector(name + ".grid_losses");
    maxima = file.read_matrix(name + ".clip_max_after_scale");
  }

  template <class Visitor>
  auto with_format_of_case(Visitor&& f) const {
    return with_named(TypeList<UInt<3>, UInt<4>>{}, "format", "uint" + std::to_string(bits), f);
  }

  AwqScales search(const Execution& execution = {}) const {
    return with_format_of_case([&]<class F>(TypeTag<F>) {
      const MatrixView<const float> sharing[] = {w};
      return awq_scales<F>(
          sharing, mean_abs(x),
          [&](std::span<const Matrix<float>> trial) { return output_error(x, trial[0], w); },
          options, execution);
    });
  }

  Matrix<float> scaled_weight(const Vector<float>& s) const {
    Matrix<float> scaled = w;
    for (Index i = 0; i < w.rows(); ++i)
      for (Index c = 0; c < w.cols(); ++c) scaled(i, c) *= s[c];
    return scaled;
  }

  Matrix<float> clip_search(const Vector<float>& s, const Execution& execution = {}) const {
    Matrix<float> divided = x;
    for (Index t = 0; t < x.rows(); ++t)
      for (Index c = 0; c < x.cols(); ++c) divided(t, c) /= s[c];
    return with_format_of_case([&]<class F>(TypeTag<F>) {
      return awq_clip<F>(scaled_weight(s), divided, options, execution);
    });
  }

  /// Error of the layer's output with scaled, clipped and quantized weights.
  double error_after_clipping(const Vector<float>& s, const Matrix<float>& clip) const {
    Matrix<float> clipped = scaled_weight(s);
    apply_clip(clipped, clip, options.group_size);
    Matrix<float> q = with_format_of_case([&]<class F>(TypeTag<F>) {
      return dequantize(quantize<F>(clipped, {.group_size = options.group_size,
                                              .scale_type = ScaleType::f32,
                                              .range = {.extend_to_zero = false}}));
    });
    for (Index i = 0; i < q.rows(); ++i)
      for (Index c = 0; c < q.cols(); ++c) q(i, c) /= s[c];
    return output_error(x, q, w);
  }
};

constexpr int cases = 3;

/// What the search finds for case k, searched once.
const AwqScales& found_scales(int k) {
  static std::array<std::optional<AwqScales>, cases> found;
  auto& scales = found[static_cast<std::size_t>(k)];
  if (!scales) scales = Layer(k).search();
  return *scales;
}

Index equal_maxima(const Matrix<float>& a, const Matrix<float>& b) {
  Index equal = 0;
  for (Index i = 0; i < a.size(); ++i)
    equal += std::fabs(a.data()[i] - b.data()[i]) <= 1e-6f * std::fabs(b.data()[i]);
  return equal;
}

}  // namespace

TEST_CASE("the scale search agrees with the authors' code") {
  for (int k = 0; k < cases; ++k) {
    const Layer layer(k);
    const AwqScales& found = found_scales(k);
    CAPTURE(k);
    CHECK(found.ratio == layer.ratio);
    CHECK(found.loss == found.grid_losses[static_cast<std::size_t>(std::lround(found.ratio * 20))]);
    for (Index c = 0; c < found.scales.size(); ++c)
      CHECK(std::fabs(found.scales[c] / layer.scales[c] - 1.0f) <= 1e-5f);
    REQUIRE(found.grid_losses.size() == 20);
    int close = 0;
    for (Index i = 0; i < 20; ++i) {
      const double ratio = found.grid_losses[static_cast<std::size_t>(i)] /
                           static_cast<double>(layer.grid_losses[i]);
      close += std::fabs(ratio - 1.0) <= 1e-5;
      CAPTURE(i, ratio);
      CHECK(std::fabs(ratio - 1.0) <= 2e-3);
    }
    CHECK(close >= 19);
  }
}

TEST_CASE("the clip search agrees with the authors' code") {
  Index own_equal = 0, groups = 0;
  for (int k = 0; k < cases; ++k) {
    const Layer layer(k);
    CAPTURE(k);
    const Index equal = equal_maxima(layer.clip_search(layer.scales), layer.maxima);
    CHECK(static_cast<double>(equal) >= 0.99 * static_cast<double>(layer.maxima.size()));

    const Vector<float>& own = found_scales(k).scales;
    const Matrix<float> own_maxima = layer.clip_search(own);
    own_equal += equal_maxima(own_maxima, layer.maxima);
    groups += layer.maxima.size();
    const double error = layer.error_after_clipping(own, own_maxima);
    CHECK(error <= 1.02 * layer.error_after_clipping(layer.scales, layer.maxima));
    Matrix<float> unclipped = layer.maxima;
    unclipped.fill(INFINITY);
    CHECK(error < layer.error_after_clipping(own, unclipped));
  }
  CAPTURE(own_equal, groups);
  CHECK(static_cast<double>(own_equal) >= 0.97 * static_cast<double>(groups));
}

TEST_CASE("both searches give the same bits for any number of threads") {
  Layer layer(0);
  layer.options.ratios = 2;
  const AwqScales serial = layer.search();
  const Matrix<float> maxima = layer.clip_search(serial.scales);
  for (const int threads : {2, 3}) {
    const Execution parallel{.parallel_for = OpenMpFor(threads)};
    CHECK(layer.search(parallel).grid_losses == serial.grid_losses);
    CHECK(layer.clip_search(serial.scales, parallel) == maxima);
  }
}

TEMPLATE_TEST_CASE("scales help every kind of format, for layers that share an input", "", Int<4>,
                   UInt<3>, NF4, test::TwoLevels) {
  const Index inputs = 96;
  const Matrix<float> a = test::random_matrix(9, inputs, 1), b = test::random_matrix(5, inputs, 2);
  Matrix<float> x = test::random_matrix(64, inputs, 3);
  for (Index t = 0; t < x.rows(); ++t) {
    for (Index c = 0; c < inputs; c += 13) x(t, c) *= 30.0f;
    x(t, 50) = 0.0f;
  }
  const MatrixView<const float> sharing[] = {a, b};
  const AwqScales found =
      awq_scales<TestType>(sharing, mean_abs(x),
                           [&](std::span<const Matrix<float>> trial) {
                             return output_error(x, trial[0], a) + output_error(x, trial[1], b);
                           },
                           {.group_size = 32});
  CHECK(found.ratio > 0.0f);
  CHECK(found.loss < 0.5 * found.grid_losses[0]);
  for (Index c = 0; c < inputs; ++c) CHECK((found.scales[c] > 0.0f && found.scales[c] < 1e4f));
}

TEST_CASE("the first of equal losses wins, and ratio 0 leaves the weights unscaled") {
  const Matrix<float> w = test::random_matrix(3, 8);
  const MatrixView<const float> sharing[] = {w};
  int calls = 0;
  const AwqScales found = awq_scales<Int<4>>(
      sharing, std::vector<float>{1, 2, 3, 4, 0, 6, 7, 8},
      [&](std::span<const Matrix<float>> trial) {
        if (calls++ == 0)
          CHECK(trial[0] == dequantize(quantize<Int<4>>(w, {.scale_type = ScaleType::f32})));
        return 1.0;
      },
      {.group_size = -1, .ratios = 5});
  CHECK(calls == 5);
  CHECK(found.ratio == 0.0f);
  for (Index c = 0; c < 8; ++c) CHECK(found.scales[c] == 1.0f);
}

/// (37, 50); inputs that nearly follow one another, one of them large, leave much to cancel.
Matrix<float> clip_inputs(bool correlated) {
  Matrix<float> x = test::random_matrix(37, 50, 6);
  if (!correlated) return x;
  for (Index t = 0; t < x.rows(); ++t)
    for (Index c = 0; c < x.cols(); ++c)
      x(t, c) = (c % 16 == 3 ? 500.0f : 1.0f) * (x(t, 0) + 1e-2f * x(t, c));
  return x;
}

TEST_CASE("parameters of the whole tensor are found before the searches", "[awq]") {
  using F = test::TwoLevels;
  Matrix<float> w = test::random_matrix(5, 48, 5);
  w(4, 47) = 40.0f;
  const Matrix<float> x(clip_inputs(false).view().slice(1, 0, 48));
  // Unscaled, a trial is what quantize makes of the weight.
  const MatrixView<const float> sharing[] = {w};
  Matrix<float> first;
  (void)awq_scales<F>(sharing, mean_abs(x),
                      [&](std::span<const Matrix<float>> trial) {
                        first = trial[0];
                        return 0.0;
                      },
                      {.group_size = 16, .ratios = 1});
  CHECK(first == dequantize(quantize<F>(w, {.group_size = 16})));

  // Clipping a group changes its error as quantize shows, with the tensor's scale as it was.
  const Matrix<float> maxima = awq_clip<F>(w, x, {.group_size = 16});
  for (Index i = 0; i < w.rows(); ++i) {
    const auto error = [&](float maximum) {
      Matrix<float> clipped = w, limits({5, 3});
      limits.fill(1e9f);
      limits(i, 0) = maximum;
      apply_clip(clipped, limits, 16);
      const Matrix<float> changed = dequantize(quantize<F>(clipped, {.group_size = 16}));
      return output_error(x.view().slice(1, 0, 16), changed.view().slice(0, i, 1).slice(1, 0, 16),
                          w.view().slice(0, i, 1).slice(1, 0, 16));
    };
    const float absmax = range_of(&w(i, 0), 16).absmax();
    for (int k = 0; k < 10; ++k)
      CHECK(error(maxima(i, 0)) <= 1.0001 * error(absmax * (1.0f - static_cast<float>(k) / 20.0f)));
  }
}

TEST_CASE("clip maxima lie on the grid and never make the sampled outputs worse") {
  for (const Index rows : {1, 17, 33})
    for (const auto& [group, correlated] :
         {std::pair{-1, false}, {16, false}, {23, false}, {16, true}, {-1, true}}) {
      CAPTURE(rows, group, correlated);
      Matrix<float> w = test::random_matrix(rows, 50, 5);
      const Matrix<float> x = clip_inputs(correlated);
      for (Index c = 0; c < 50; ++c) w(0, c) = 0.0f;
      const AwqOptions options{.group_size = group};
      const Matrix<float> maxima = awq_clip<UInt<3>>(w, x, options);
      const Index length = group == -1 ? 50 : group;
      REQUIRE(maxima.shape() == Shape<2>{rows, ceil_div(50, length)});
      for (Index g = 0; g < maxima.cols(); ++g) CHECK(maxima(0, g) == 0.0f);
      for (Index i = 1; i < rows; ++i)
        for (Index g = 0; g < maxima.cols(); ++g) {
          const Index begin = g * length, count = std::min(length, 50 - begin);
          const float absmax = range_of(&w(i, begin), count).absmax();
          const float step = (1.0f - maxima(i, g) / absmax) * 20.0f;
          CHECK(std::fabs(step - std::round(step)) < 1e-3f);
          CHECK((step > -1e-3f && step < 9.001f));

          const auto group_error = [&](float maximum) {
            Matrix<float> block(w.view().slice(0, i, 1).slice(1, begin, count)), original = block;
            Matrix<float> limit({1, 1});
            limit.fill(maximum);
            apply_clip(block, limit, -1);
            const auto q = quantize<UInt<3>>(
                block, {.scale_type = ScaleType::f32, .range = {.extend_to_zero = false}});
            return output_error(x.view().slice(1, begin, count), dequantize(q), original);
          };
          const double chosen = group_error(maxima(i, g));
          for (int k = 0; k < 10; ++k)
            CHECK(chosen <= 1.0001 * group_error(absmax * (1.0f - static_cast<float>(k) / 20.0f)));
        }
    }
}

TEST_CASE("the clip search samples tokens evenly and reads strided views") {
  const Matrix<float> w = test::random_matrix(4, 24, 1), x = test::random_matrix(30, 24, 2);
  const AwqOptions options{.group_size = 8, .clip_tokens = 10};
  const MatrixView<const float> third(x.data(), {10, 24}, {3 * 24, 1});
  const Matrix<float> maxima = awq_clip<UInt<4>>(w, x, options);
  CHECK(maxima == awq_clip<UInt<4>>(w, third, options));
  const test::Strided<float> strided_w(w), strided_x(x);
  CHECK(maxima == awq_clip<UInt<4>>(strided_w.view(), strided_x.view(), options));
}

TEST_CASE("without evidence against it the clip search keeps the whole range") {
  const Matrix<float> w = test::random_matrix(2, 8, 1);
  const Matrix<float> maxima = awq_clip<Int<4>>(w, Matrix<float>({5, 8}), {.group_size = -1});
  for (Index i = 0; i < 2; ++i) CHECK(maxima(i, 0) == range_of(&w(i, 0), 8).absmax());
}

TEST_CASE("clipping limits both signs of every group") {
  const std::vector<float> maxima{1.0f, 2.0f, 0.0f, 3.0f};
  std::vector<float> w{-5, 0.5, 5, 5, -2, -1, 1, 1, 4, -4};
  apply_clip({w, {2, 5}}, {maxima, {2, 2}}, 3);
  CHECK(w == std::vector<float>{-1, 0.5, 1, 2, -2, 0, 0, 0, 3, -3});
}

TEST_CASE("the searches refuse what they cannot use") {
  const Matrix<float> w = test::random_matrix(3, 8), x = test::random_matrix(4, 8);
  const MatrixView<const float> sharing[] = {w};
  const auto loss = [](std::span<const Matrix<float>>) { return 0.0; };
  const AwqOptions rows{.group_size = -1};
  const auto search = [&](const std::vector<float>& means, const AwqOptions& options) {
    return awq_scales<Int<4>>(sharing, means, loss, options);
  };
  CHECK_THROWS_AS(search(std::vector<float>(7, 1.0f), rows), ShapeError);
  CHECK_THROWS_AS(search(std::vector<float>(8, 1.0f), {.group_size = 9}), ArgumentError);
  CHECK_THROWS_AS(search(std::vector<float>(8, 1.0f), {.group_size = 0}), ArgumentError);
  CHECK_THROWS_AS(search(std::vector<float>(8, 1.0f), {.group_size = -1, .ratios = 0}),
                  ArgumentError);
  for (const float bad : {-1.0f, NAN, INFINITY})
    CHECK_THROWS_AS(search(std::vector<float>(8, bad), rows), NumericError);
  CHECK_THROWS_AS(awq_scales<Int<4>>({}, std::vector<float>(8, 1.0f), loss, rows), ArgumentError);
  CHECK_THROWS_AS(awq_scales<Int<4>>(
                      sharing, std::vector<float>(8, 1.0f),
                      [](std::span<const Matrix<float>>) { return NAN; }, rows),
                  NumericError);

  CHECK_THROWS_AS(awq_clip<Int<4>>(w, test::random_matrix(4, 7), rows), ShapeError);
  CHECK_THROWS_AS(awq_clip<Int<4>>(w, Matrix<float>({0, 8}), rows), ArgumentError);
  CHECK_THROWS_AS(awq_clip<Int<4>>(w, x, {.group_size = 9}), ArgumentError);
  CHECK_THROWS_AS(awq_clip<Int<4>>(w, x, {.group_size = -1, .clip_steps = 21}), ArgumentError);
  Matrix<float> broken = x;
  broken(3, 2) = INFINITY;
  CHECK_THROWS_WITH(awq_clip<Int<4>>(w, broken, rows), "activation holds infinity at [3, 2]");
  CHECK_THROWS_AS(apply_clip(broken, Matrix<float>({4, 2}), -1), ShapeError);
  CHECK_THROWS_AS(apply_clip(broken, Matrix<float>({4, 1}), 0), ArgumentError);
  Matrix<float> negative({4, 1});
  negative(3, 0) = -1.0f;
  CHECK_THROWS_AS(apply_clip(broken, negative, -1), ArgumentError);
}
