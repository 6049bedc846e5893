#include "training/weight_masks.hpp"

#include <cmath>
#include <memory>

#include "engine/checkpoint.hpp"
#include "oracle_models.hpp"
#include "pare/core/thread_pool.hpp"
#include "pare/quantization/quantize.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"
#include "training/trainer.hpp"

using namespace pare;
using training::GradualPruning;

namespace {

using Removal = GradualPruning::Score;

engine::Model masked_llama() {
  return engine::Checkpoint(directory_of(test::OracleModel{"llama", "llama"})).load();
}

std::vector<std::int32_t> masked_text() {
  std::vector<std::int32_t> ids(90);
  for (std::size_t t = 0; t < ids.size(); ++t) ids[t] = static_cast<std::int32_t>(t % 60);
  return ids;
}

constexpr std::int64_t all_steps = 12;

GradualPruning to_70(Removal score) {
  return {.score = score, .schedule = {.final = 0.7, .begin = 2, .span = 6}};
}

/// A training with masks.
struct MaskedTraining {
  explicit MaskedTraining(const GradualPruning& pruning, double momentum = 0.0)
      : trainer(student, batches, training::parse_objective("ce"), {}, training::make_adamw(),
                {.rate = {.peak = 1e-2, .warm_up = 2, .steps = all_steps}}) {
    training::WeightMasks masks;
    masks.remove_gradually(student, pruning);
    trainer.mask(std::move(masks));
    if (momentum > 0.0) trainer.average(momentum);
  }
  void run(std::int64_t first, std::int64_t last, const Execution& execution = {}) {
    for (std::int64_t step = first; step < last; ++step) (void)trainer.step(step, execution);
  }
  [[nodiscard]] std::vector<Matrix<float>> layers() const {
    std::vector<Matrix<float>> all;
    for (const std::size_t p : student.layers()) all.emplace_back(student.parameters()[p].read());
    return all;
  }

  std::vector<std::int32_t> ids = masked_text();
  training::TextBatches batches{ids, 8, 2, 1};
  training::LanguageModel<float> student{masked_llama()};
  training::Trainer trainer;
};

Index zeros_of(const Matrix<float>& w) { return nonzero_mask(w).removed(); }

}  // namespace

TEST_CASE("weights are removed along the schedule, and what is removed has no gradient") {
  for (const Removal score : {Removal::magnitude, Removal::movement}) {
    CAPTURE(score == Removal::movement);
    MaskedTraining training(to_70(score));
    const double loss = training.trainer.step(0, {}).loss;
    CHECK(training.trainer.masks().sparsity() == 0.0);
    std::vector<Matrix<float>> before;
    for (std::int64_t step = 1; step < all_steps; ++step) {
      (void)training.trainer.step(step, {});
      const double wanted = cubic_sparsity(step, to_70(score).schedule);
      CHECK(training.trainer.masks().sparsity() == Approx(wanted).margin(2e-3));
      const std::vector<Matrix<float>> layers = training.layers();
      for (std::size_t l = 0; l < layers.size(); ++l) {
        const auto& parameter = training.student.parameters()[training.student.layers()[l]];
        CHECK(static_cast<double>(zeros_of(layers[l])) / static_cast<double>(layers[l].size()) ==
              Approx(wanted).margin(2e-3));
        for (Index i = 0; i < layers[l].size(); ++i) {
          if (layers[l].data()[i] != 0.0f) continue;
          REQUIRE(parameter.gradient.data()[i] == 0.0f);
        }
        if (score == Removal::magnitude && !before.empty())
          for (Index i = 0; i < layers[l].size(); ++i)
            if (before[l].data()[i] == 0.0f) REQUIRE(layers[l].data()[i] == 0.0f);
      }
      before = layers;
    }
    training.trainer.settle({});
    for (const Matrix<float>& w : training.layers())
      CHECK(zeros_of(w) == Approx(0.7 * static_cast<double>(w.size())).margin(1.0));
    CHECK(training.trainer.step(0, {}).loss < loss);
  }
}

TEST_CASE("the first weights that go are the smallest, or those that moved the least") {
  MaskedTraining magnitude({.score = Removal::magnitude, .schedule = {.final = 0.5, .span = 0}});
  const std::size_t p = magnitude.student.layers()[0];
  const Matrix<float> w = magnitude.student.parameters()[p].value;
  magnitude.run(0, 1);
  float largest_removed = 0.0f, smallest_kept = 1e9f;
  for (Index i = 0; i < w.size(); ++i) {
    float& bound =
        magnitude.student.parameters()[p].value.data()[i] == 0.0f ? largest_removed : smallest_kept;
    bound = (&bound == &largest_removed) ? std::max(bound, std::fabs(w.data()[i]))
                                         : std::min(bound, std::fabs(w.data()[i]));
  }
  CHECK(largest_removed <= smallest_kept);

  // Of one step: S = -rate w dL/dw. A rate of 0 for the weights leaves them as they were.
  MaskedTraining movement(
      {.score = Removal::movement, .schedule = {.final = 0.5, .begin = 1, .span = 0}});
  movement.run(0, 1);
  const auto& parameter = movement.student.parameters()[p];
  const Matrix<float> gradient = parameter.gradient;
  movement.trainer.settle({});
  double lowest_kept = 1e9, highest_removed = -1e9;
  for (Index i = 0; i < w.size(); ++i) {
    const double s = -static_cast<double>(w.data()[i]) * static_cast<double>(gradient.data()[i]);
    if (parameter.used.data()[i] == 0.0f)
      highest_removed = std::max(highest_removed, s);
    else
      lowest_kept = std::min(lowest_kept, s);
  }
  CHECK(highest_removed <= lowest_kept);
}

TEST_CASE("masked training resumes at any step with the same bits, for any threads") {
  const test::TemporaryDirectory directory;
  for (const Removal score : {Removal::magnitude, Removal::movement}) {
    CAPTURE(score == Removal::movement);
    MaskedTraining whole(to_70(score), 0.9);
    ThreadPool pool(3);
    whole.run(0, all_steps, {.parallel_for = pool});
    whole.trainer.settle({});
    for (const std::int64_t at : {1, 5, 11}) {
      const auto file = directory / "state";
      {
        MaskedTraining first(to_70(score), 0.9);
        first.run(0, at);
        training::save_state(file, "k", first.trainer.trainables(), first.trainer.optimizer(), at,
                             first.trainer.state_parts());
      }
      MaskedTraining second(to_70(score), 0.9);
      CHECK(training::load_state(file, "k", second.trainer.trainables(), second.trainer.optimizer(),
                                 second.trainer.state_parts()) == at);
      second.run(at, all_steps);
      second.trainer.settle({});
      CHECK(second.layers() == whole.layers());
    }
    // A state without these parts is another training's.
    MaskedTraining first(to_70(score));
    training::save_state(directory / "bare", "k", first.trainer.trainables(),
                         first.trainer.optimizer(), 1);
    CHECK_THROWS_WITH(training::load_state(directory / "bare", "k", first.trainer.trainables(),
                                           first.trainer.optimizer(), first.trainer.state_parts()),
                      ContainsSubstring("no fitting tensor") && ContainsSubstring("layers.0"));
  }
}

TEST_CASE("zeros that a layer has count, and rounding keeps those that are removed") {
  MaskedTraining training({.score = Removal::magnitude, .schedule = {.final = 0.5, .span = 4}});
  auto& first = training.student.parameters()[training.student.layers()[0]].value;
  for (Index i = 0; i < first.size(); ++i)
    if (i % 4 != 0) first.data()[i] = 0.0f;
  training::WeightMasks masks;
  masks.remove_gradually(training.student,
                         {.score = Removal::magnitude, .schedule = {.final = 0.5, .span = 4}});
  training::QuantizedWeights rounded;
  for (const std::size_t p : training.student.layers())
    rounded.add(p, quantize<UInt<3>>(training.student.parameters()[p].value, {.group_size = 8}));
  training.trainer.quantize(std::move(rounded));
  training.trainer.mask(std::move(masks));
  training.run(0, all_steps);
  training.trainer.settle({});
  for (std::size_t l = 0; l < training.student.layers().size(); ++l) {
    const auto& parameter = training.student.parameters()[training.student.layers()[l]];
    CHECK(zeros_of(parameter.value) ==
          Approx((l == 0 ? 0.75 : 0.5) * static_cast<double>(parameter.value.size())).margin(1));
    for (Index i = 0; i < parameter.value.size(); ++i)
      if (parameter.value.data()[i] == 0.0f) REQUIRE(parameter.used.data()[i] == 0.0f);
  }
  training::WeightMasks copies;
  copies.remove_gradually(training.student, to_70(Removal::movement));
  CHECK_THROWS_WITH(training.trainer.mask(std::move(copies)), ContainsSubstring("not both"));
  training::WeightMasks wrong;
  CHECK_THROWS_AS(wrong.keep(training.student, training.student.layers()[0], Mask(3, 3)),
                  ShapeError);
  CHECK_THROWS_AS(wrong.remove_gradually(training.student, {.schedule = {.final = 1.5}}),
                  ArgumentError);
}

TEST_CASE("an average of steps is what comes out") {
  MaskedTraining last({.schedule = {.final = 0.0}}), mean({.schedule = {.final = 0.0}}, 0.75);
  const std::size_t p = last.student.layers()[0];
  std::vector<double> expected;
  for (std::int64_t step = 0; step < 8; ++step) {
    last.run(step, step + 1);
    mean.run(step, step + 1);
    const Matrix<float>& w = last.student.parameters()[p].value;
    const double m = std::min(1.0 - 1.0 / static_cast<double>(step + 1), 0.75);
    expected.resize(static_cast<std::size_t>(w.size()));
    for (std::size_t i = 0; i < expected.size(); ++i)
      expected[i] = m * expected[i] + (1.0 - m) * static_cast<double>(w.data()[i]);
  }
  mean.trainer.settle({});
  const Matrix<float>& w = mean.student.parameters()[p].value;
  CHECK(w != last.student.parameters()[p].value);
  for (std::size_t i = 0; i < expected.size(); ++i)
    REQUIRE(static_cast<double>(w.data()[i]) == Approx(expected[i]).margin(1e-7));
  CHECK_THROWS_AS(mean.trainer.average(1.5), ArgumentError);
}
