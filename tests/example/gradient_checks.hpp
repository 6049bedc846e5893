#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

#include "pare/core/random.hpp"
#include "pare/core/thread_pool.hpp"
#include "pare/kernels/execution.hpp"
#include "support/catch.hpp"
#include "training/trainer.hpp"

/// What the gradients of every kind of model are checked with.
namespace pare::test {

/// A parameter's gradient against differences of the loss along a random direction. Returns the
/// sum of its squares.
template <class Loss>
double check_along_direction(training::Parameter<double>& parameter, Random& random,
                             const Loss& loss) {
  CAPTURE(parameter.name);
  std::vector<double> direction(static_cast<std::size_t>(parameter.value.size()));
  double along = 0.0, squares = 0.0;
  for (std::size_t i = 0; i < direction.size(); ++i) {
    direction[i] = static_cast<double>(random.normal());
    const double g = parameter.gradient.data()[i];
    along += g * direction[i];
    squares += g * g;
  }
  const Matrix<double> before = parameter.value;
  constexpr double step = 1e-6;
  const auto loss_at = [&](double distance) {
    for (std::size_t i = 0; i < direction.size(); ++i)
      parameter.value.data()[i] = before.data()[i] + distance * direction[i];
    return loss();
  };
  const double difference = (loss_at(step) - loss_at(-step)) / (2 * step);
  parameter.value = before;
  CHECK(std::fabs(along - difference) <= 1e-5 * (std::sqrt(squares) + 1e-3));
  return squares;
}

/// Tangents of the gradients of `dual`, along random ones of its values, against differences of the
/// gradients of `real`. backward(model) computes the gradients of the same loss, from zeros.
template <class Dual, class Real, class Backward>
void check_hessian_product(Dual& dual, Real& real, const Backward& backward) {
  Random random(8);
  for (auto& parameter : dual.parameters())
    for (auto& w : parameter.value) w.tangent = static_cast<double>(random.normal());
  backward(dual);
  constexpr double step = 1e-5;
  std::vector<Matrix<double>> ends[2];
  for (const int side : {0, 1}) {
    for (std::size_t p = 0; p < real.parameters().size(); ++p)
      for (Index i = 0; i < real.parameters()[p].value.size(); ++i) {
        const auto& w = dual.parameters()[p].value.data()[i];
        real.parameters()[p].value.data()[i] = w.value + (side == 0 ? -step : step) * w.tangent;
      }
    backward(real);
    for (const auto& parameter : real.parameters()) ends[side].push_back(parameter.gradient);
  }
  double worst = 0.0, largest = 0.0;
  for (std::size_t p = 0; p < ends[0].size(); ++p)
    for (Index i = 0; i < ends[0][p].size(); ++i) {
      const double difference = (ends[1][p].data()[i] - ends[0][p].data()[i]) / (2 * step);
      largest = std::max(largest, std::fabs(difference));
      worst =
          std::max(worst, std::fabs(dual.parameters()[p].gradient.data()[i].tangent - difference));
    }
  CHECK(worst <= 1e-5 * largest);
}

/// backward(model, execution, again) computes gradients of a new model: they are the same bits for
/// any threads, and where blocks are computed again.
template <class MakeModel, class Backward>
void check_same_bits(const MakeModel& make_model, const Backward& backward) {
  const auto gradients_of = [&](const Execution& execution, bool again) {
    auto model = make_model();
    backward(*model, execution, again);
    std::vector<Matrix<float>> all;
    for (const auto& parameter : model->parameters()) all.push_back(parameter.gradient);
    return all;
  };
  const auto expected = gradients_of({}, false);
  CHECK(gradients_of({}, true) == expected);
  ThreadPool pool(3);
  CHECK(gradients_of({.parallel_for = pool}, false) == expected);
}

/// The gradients that a trainer takes a step along, against differences of the loss that it
/// reports. Its rate is nearly 0, so that a step leaves the values.
inline void check_objective(training::Trainer& trainer) {
  const auto report = trainer.step(3, {});
  double squares = 0.0;
  std::vector<std::vector<float>> direction;
  for (const training::Trainable& p : trainer.trainables()) {
    direction.emplace_back(p.gradient.begin(), p.gradient.end());
    for (const float g : p.gradient) squares += static_cast<double>(g) * static_cast<double>(g);
  }
  const double norm = std::sqrt(squares);
  CHECK(report.gradient_norm == Approx(norm));
  const auto loss_at = [&](double distance) {
    const auto move = [&](double by) {
      for (std::size_t p = 0; p < direction.size(); ++p)
        for (std::size_t i = 0; i < direction[p].size(); ++i)
          trainer.trainables()[p].value[i] +=
              static_cast<float>(by * static_cast<double>(direction[p][i]) / norm);
    };
    move(distance);
    const double loss = trainer.step(3, {}).loss;
    move(-distance);
    return loss;
  };
  CHECK((loss_at(2e-3) - loss_at(-2e-3)) / 4e-3 == Approx(norm).epsilon(0.02));
}

}  // namespace pare::test
