#include "training/gradient_statistics.hpp"

#include <cmath>
#include <vector>

#include "engine/checkpoint.hpp"
#include "oracle_models.hpp"
#include "pare/core/random.hpp"
#include "pare/core/thread_pool.hpp"
#include "support/catch.hpp"
#include "training/language_model.hpp"
#include "training/operations/cross_entropy.hpp"

using namespace pare;
using training::GradientText;
using training::LanguageModel;
using training::LayerMatrices;

namespace {

constexpr Index window = 9, windows_of_text = 5;

/// A text, and what statistics are compared with: gradients of its loss in double, window by
/// window.
struct TextOfModel {
  engine::Model model =
      engine::Checkpoint(directory_of(test::OracleModel{"llama", "llama"})).load();
  std::vector<std::int32_t> ids;

  TextOfModel() {
    Random random(3);
    for (Index t = 0; t < window * windows_of_text; ++t)
      ids.push_back(static_cast<std::int32_t>(
          random.below(static_cast<std::uint32_t>(model.config.vocab_size))));
  }

  [[nodiscard]] GradientText text(Index batch = 8) const { return {ids, window, batch}; }

  /// The gradient of the layers of one window's loss, of logits divided by a temperature.
  [[nodiscard]] std::vector<Matrix<double>> gradient(LanguageModel<double>& real, Index w,
                                                     double temperature = 1.0) const {
    const auto begin = ids.begin() + w * window;
    const std::vector<std::int32_t> own(begin, begin + window);
    std::vector<std::int32_t> labels(begin + 1, begin + window);
    labels.push_back(training::ignored_label);
    training::Pass<double> pass;
    real.forward(own, window, pass, {});
    Matrix<double> logits(pass.logits);
    for (Index i = 0; i < logits.size(); ++i) logits.data()[i] /= temperature;
    training::PassGradients<double> gradients;
    gradients.logits = Matrix<double>(logits.shape());
    (void)training::cross_entropy<double>(logits, labels, gradients.logits, 1.0 / temperature, {});
    real.zero_gradients();
    real.backward(pass, gradients, {});
    std::vector<Matrix<double>> all;
    for (const std::size_t p : real.layers()) all.push_back(real.parameters()[p].gradient);
    return all;
  }

  /// sum over windows of what use(gradient of an element) says, over their number.
  template <class Use>
  [[nodiscard]] std::vector<Matrix<double>> mean(LanguageModel<double>& real, const Use& use,
                                                 double temperature = 1.0) const {
    std::vector<Matrix<double>> sums;
    for (Index w = 0; w < windows_of_text; ++w) {
      const auto own = gradient(real, w, temperature);
      sums.resize(own.size());
      for (std::size_t l = 0; l < own.size(); ++l) {
        if (w == 0) sums[l] = Matrix<double>(own[l].shape());
        for (Index i = 0; i < own[l].size(); ++i)
          sums[l].data()[i] += use(own[l].data()[i]) / static_cast<double>(windows_of_text);
      }
    }
    return sums;
  }

  /// Of each layer, relative to its largest entry.
  void check(const LayerMatrices& found, const LanguageModel<double>& real,
             const std::vector<Matrix<double>>& expected, double tolerance) const {
    REQUIRE(found.size() == expected.size());
    std::size_t l = 0;
    for (const std::size_t p : real.layers()) {
      const std::string& weight = real.parameters()[p].name;
      CAPTURE(weight);
      const Matrix<float>& own = found.at(weight.substr(0, weight.rfind(".weight")));
      REQUIRE(own.shape() == expected[l].shape());
      double worst = 0.0, largest = 0.0;
      for (Index i = 0; i < own.size(); ++i) {
        const double e = expected[l].data()[i];
        largest = std::max(largest, std::fabs(e));
        worst = std::max(worst, std::fabs(static_cast<double>(own.data()[i]) - e));
      }
      CHECK(worst <= tolerance * largest);
      ++l;
    }
  }
};

}  // namespace

TEST_CASE("gradients of a text are means over its windows, whatever the batch") {
  const TextOfModel text;
  LanguageModel<double> real(text.model);
  const auto expected = text.mean(real, [](double g) { return g; });
  for (const Index batch : {1, 2, 8})
    text.check(training::mean_gradients(text.model, text.text(batch), {}), real, expected, 1e-5);
  text.check(training::mean_squared_gradients(text.model, text.text(), {}), real,
             text.mean(real, [](double g) { return g * g; }), 1e-5);
}

TEST_CASE("the Hessian times the gradient is how the gradient changes along itself") {
  const TextOfModel text;
  LanguageModel<double> real(text.model);
  const auto identity = [](double g) { return g; };
  for (const double temperature : {1.0, 200.0}) {
    CAPTURE(temperature);
    const auto g = text.mean(real, identity, temperature);
    const double step = 1e-5 * temperature;
    const auto gradient_at = [&](double distance) {
      LanguageModel<double> moved(text.model);
      const auto layers = moved.layers();
      for (std::size_t l = 0; l < layers.size(); ++l)
        for (Index i = 0; i < g[l].size(); ++i)
          moved.parameters()[layers[l]].value.data()[i] += distance * g[l].data()[i];
      return text.mean(moved, identity, temperature);
    };
    auto expected = gradient_at(step);
    const auto below = gradient_at(-step);
    for (std::size_t l = 0; l < expected.size(); ++l)
      for (Index i = 0; i < expected[l].size(); ++i)
        expected[l].data()[i] = (expected[l].data()[i] - below[l].data()[i]) / (2 * step);
    text.check(training::hessian_gradients(text.model, text.text(2), temperature, {}), real,
               expected, 1e-4);
  }
}

TEST_CASE("the diagonal of the Hessian is estimated without bias") {
  const TextOfModel text;
  LanguageModel<double> real(text.model);
  // The trace of one layer, by differences of its gradient.
  const std::size_t layer = 0, p = real.layers()[layer];
  auto& value = real.parameters()[p].value;
  double trace = 0.0;
  constexpr double step = 1e-4;
  for (Index i = 0; i < value.size(); ++i) {
    const double before = value.data()[i];
    double ends[2];
    for (const int side : {0, 1}) {
      value.data()[i] = before + (side == 0 ? -step : step);
      ends[side] = text.gradient(real, 0)[layer].data()[i];
    }
    value.data()[i] = before;
    trace += (ends[1] - ends[0]) / (2 * step);
  }
  GradientText one = text.text();
  one.ids = one.ids.first(static_cast<std::size_t>(window));
  const LayerMatrices found = training::hessian_diagonals(text.model, one, 200, 1, {});
  const std::string& weight = real.parameters()[p].name;
  double sum = 0.0;
  const Matrix<float>& own = found.at(weight.substr(0, weight.rfind(".weight")));
  for (Index i = 0; i < own.size(); ++i) sum += static_cast<double>(own.data()[i]);
  CAPTURE(trace, sum);
  CHECK(std::fabs(sum - trace) <= 0.25 * std::fabs(trace));
}

TEST_CASE("gradients of a text are the same bits for any threads") {
  const TextOfModel text;
  ThreadPool pool(3);
  const Execution threads{.parallel_for = pool};
  CHECK(training::mean_gradients(text.model, text.text(), {}) ==
        training::mean_gradients(text.model, text.text(), threads));
  CHECK(training::mean_squared_gradients(text.model, text.text(), {}) ==
        training::mean_squared_gradients(text.model, text.text(), threads));
  CHECK(training::hessian_gradients(text.model, text.text(), 200.0, {}) ==
        training::hessian_gradients(text.model, text.text(), 200.0, threads));
}

TEST_CASE("a text without anything to predict has no gradients") {
  const TextOfModel text;
  CHECK_THROWS_AS(training::mean_gradients(text.model, {text.ids, 1}, {}), ArgumentError);
  CHECK_THROWS_AS(training::mean_gradients(text.model, {{}, window}, {}), ArgumentError);
  CHECK_THROWS_AS(training::hessian_diagonals(text.model, text.text(), 0, 1, {}), ArgumentError);
}
