#include "engine/elementwise.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "pare/core/random.hpp"
#include "pare/core/tensor.hpp"
#include "support/catch.hpp"

namespace {

using namespace pare;

std::vector<float> normal(std::size_t count, float deviation) {
  Random random(static_cast<std::uint64_t>(count));
  std::vector<float> values(count);
  for (float& value : values) value = deviation * random.normal();
  return values;
}

/// Fewer than a vector, whole vectors, more than a piece of a loop.
constexpr std::size_t counts[] = {1, 3, 16, 17, 64, 255, 256, 257, 700};

}  // namespace

TEST_CASE("silu and softmax agree with their definitions in double") {
  for (const std::size_t count : counts) {
    CAPTURE(count);
    const auto n = static_cast<Index>(count);
    const auto x = normal(count, 8.0f), up = normal(count, 1.0f);
    auto y = x;
    engine::silu_multiply(y.data(), up.data(), n);
    for (std::size_t i = 0; i < count; ++i) {
      const double g = static_cast<double>(x[i]);
      const double expected = g / (1.0 + std::exp(-g)) * static_cast<double>(up[i]);
      CHECK(std::abs(static_cast<double>(y[i]) - expected) <= 1e-6 * std::abs(expected));
    }
    for (const std::size_t visible : {std::size_t{1}, (count + 1) / 2, count}) {
      y = x;
      engine::softmax_row(y.data(), static_cast<Index>(visible), n);
      double sum = 0.0;
      for (std::size_t i = 0; i < visible; ++i) sum += std::exp(static_cast<double>(x[i]));
      for (std::size_t i = 0; i < count; ++i) {
        const double expected = i < visible ? std::exp(static_cast<double>(x[i])) / sum : 0.0;
        CHECK(std::abs(static_cast<double>(y[i]) - expected) <= 4e-6 * expected);
      }
    }
  }
}

TEST_CASE("silu and softmax of the largest numbers are finite, of what is no number are none") {
  const float largest = std::numeric_limits<float>::max(), nan = std::nanf("");
  std::vector<float> gate{largest, -1e20f, 200.0f, -200.0f, 0.0f, nan}, up(6, 1.0f);
  engine::silu_multiply(gate.data(), up.data(), 6);
  CHECK(gate[0] == largest);
  CHECK(std::abs(gate[1]) < 1e-15f);
  CHECK(gate[2] == 200.0f);
  CHECK(std::abs(gate[3]) < 1e-30f);
  CHECK(gate[4] == 0.0f);
  CHECK(std::isnan(gate[5]));
  std::vector<float> scores{-largest, 0.0f, largest};
  engine::softmax_row(scores.data(), 3, 3);
  CHECK(scores[0] < 1e-30f);
  CHECK(scores[2] == 1.0f);
  scores = {1.0f, nan, 2.0f};
  engine::softmax_row(scores.data(), 3, 3);
  CHECK(std::isnan(scores[0]));
}

TEST_CASE("dot products, norms and rotations agree with their definitions in double") {
  for (const std::size_t count : counts) {
    CAPTURE(count);
    const auto n = static_cast<Index>(count);
    const auto x = normal(count, 3.0f), w = normal(count, 1.0f);
    double sum = 0.0, squares = 0.0, magnitude = 0.0;
    for (std::size_t i = 0; i < count; ++i) {
      const double product = static_cast<double>(x[i]) * static_cast<double>(w[i]);
      sum += product;
      magnitude += std::abs(product);
      squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    for (const Index rows : {1, 3, 4, 6}) {
      Matrix<float> weights({rows, n + 1});
      for (Index r = 0; r < rows; ++r)
        for (Index i = 0; i < n; ++i)
          weights(r, i) = static_cast<float>(r + 1) * w[static_cast<std::size_t>(i)];
      std::vector<float> sums(static_cast<std::size_t>(rows) + 1, 0.5f);
      engine::add_dot_products(x.data(), weights.data(), n + 1, rows, n, sums.data());
      for (Index r = 0; r < rows; ++r)
        CHECK(std::abs(static_cast<double>(sums[static_cast<std::size_t>(r)]) - 0.5 -
                       static_cast<double>(r + 1) * sum) <=
              1e-5 * (0.5 + static_cast<double>(r + 1) * magnitude));
      CHECK(sums.back() == 0.5f);
    }
    std::vector<float> y(count);
    engine::rms_norm_row(x.data(), w.data(), 0.0f, n, 1e-5f, y.data());
    const double root = std::sqrt(squares / static_cast<double>(count) + 1e-5);
    for (std::size_t i = 0; i < count; ++i)
      CHECK(static_cast<double>(y[i]) ==
            Approx(static_cast<double>(x[i]) / root * static_cast<double>(w[i])).epsilon(1e-5));
    auto a = x, b = w;
    const std::vector<float> cosines(count, 0.6f), sines(count, 0.8f);
    engine::rotate(a.data(), b.data(), cosines.data(), sines.data(), n);
    for (std::size_t i = 0; i < count; ++i) {
      CHECK(a[i] == Approx(0.6f * x[i] - 0.8f * w[i]).epsilon(1e-4).margin(1e-5));
      CHECK(b[i] == Approx(0.6f * w[i] + 0.8f * x[i]).epsilon(1e-4).margin(1e-5));
    }
  }
}
