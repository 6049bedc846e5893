#include "pare/pruning/schedule.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "support/catch.hpp"
#include "support/pruning_oracle.hpp"

using namespace pare;
using test::PruningOracle;

TEST_CASE("schedules have the fact sheet's values") {
  const PruningOracle oracle;
  const auto steps = oracle.values<std::int64_t>("schedule.steps");
  const GradualOptions gradual{.initial = 0.1, .final = 0.9, .begin = 10, .span = 100};
  const MovementSchedule movement{.initial = 1.0, .final = 0.15, .steps = 120, .warmup_steps = 10};
  const auto cubic = oracle.values<double>("schedule.agp_f64"),
             linear = oracle.values<double>("schedule.poly1_f64"),
             square = oracle.values<double>("schedule.poly2_f64"),
             keep = oracle.values<double>("schedule.movement_keep_f64");
  for (std::size_t k = 0; k < steps.size(); ++k) {
    const auto step = static_cast<Index>(steps[k]);
    CAPTURE(step);
    CHECK(cubic_sparsity(step, gradual) == Approx(cubic[k]).epsilon(1e-12));
    CHECK(linear_sparsity(step, gradual) == Approx(linear[k]).epsilon(1e-12));
    CHECK(polynomial_sparsity(step, gradual, 2.0) == Approx(square[k]).epsilon(1e-12));
    CHECK(movement_keep(step, movement) == Approx(keep[k]).epsilon(1e-12));
  }
  const auto exponential = oracle.values<double>("schedule.synflow_exponential_density_f64"),
             density = oracle.values<double>("schedule.synflow_linear_density_f64"),
             cumulative = oracle.values<double>("schedule.torch_pruning_linear_f64");
  for (Index round = 0; round <= 10; ++round) {
    const auto k = static_cast<std::size_t>(round);
    CHECK(linear_rounds_sparsity(round, 10, 0.9) == Approx(cumulative[k]).epsilon(1e-12));
    if (round == 0) continue;
    CHECK(1.0 - exponential_sparsity(round, 10, 0.9) == Approx(exponential[k - 1]).epsilon(1e-12));
    CHECK(1.0 - linear_rounds_sparsity(round, 10, 0.9) == Approx(density[k - 1]).epsilon(1e-12));
  }
  CHECK(per_round_ratio(10, 0.9) ==
        Approx(oracle.values<double>("schedule.per_round_ratio_f64")[0]).epsilon(1e-12));
}

TEST_CASE("schedules are clamped, exact at their ends and monotone") {
  for (const double initial : {0.0, 0.1, 0.3})
    for (const double last : {0.3, 0.7, 0.95, 1.0})
      for (const Index span : {0, 1, 7, 1000})
        for (const Index every : {1, 4, 2000})
          for (const double degree : {0.5, 1.0, 2.0, 3.0, 7.0}) {
            const GradualOptions options{
                .initial = initial, .final = last, .begin = -3, .span = span, .every = every};
            double previous = initial;
            bool is_monotone = true;
            for (Index step = -10; step <= span + 10; ++step) {
              const double sparsity = polynomial_sparsity(step, options, degree);
              is_monotone = is_monotone && sparsity >= previous && sparsity <= last;
              previous = sparsity;
            }
            CAPTURE(initial, last, span, every, degree);
            CHECK(is_monotone);
            CHECK(polynomial_sparsity(-4, options, degree) == initial);
            if (span > 0) CHECK(polynomial_sparsity(-3, options, degree) == initial);
            CHECK(polynomial_sparsity(span - 3, options, degree) == last);
            // Towards less: movement's shares that are kept.
            const GradualOptions down{.initial = last, .final = initial, .begin = 0, .span = span};
            CHECK(polynomial_sparsity(span / 2, down, degree) >= initial);
          }
  for (const double last : {0.0, 0.1, 0.97, 1.0})
    for (const Index rounds : {1, 3, 100}) {
      double exponential = 0.0, linear = 0.0, remaining = 1.0;
      for (Index round = -1; round <= rounds + 1; ++round) {
        const double next = exponential_sparsity(round, rounds, last);
        CHECK(next >= exponential);
        CHECK(linear_rounds_sparsity(round, rounds, last) >= linear);
        exponential = next;
        linear = linear_rounds_sparsity(round, rounds, last);
        if (round < 1 || round > rounds) continue;
        remaining *= 1.0 - per_round_ratio(rounds, last);
        CHECK(1.0 - next == Approx(remaining).epsilon(1e-9).margin(1e-12));
      }
      CHECK(exponential_sparsity(0, rounds, last) == 0.0);
      CHECK(exponential == last);
      CHECK(linear == last);
    }
}

TEST_CASE("what changes in steps changes at them") {
  const GradualOptions options{.final = 0.8, .begin = 100, .span = 100, .every = 25};
  CHECK(linear_sparsity(124, options) == 0.0);
  CHECK(linear_sparsity(125, options) == Approx(0.2));
  CHECK(linear_sparsity(199, options) == Approx(0.6));
  CHECK(linear_sparsity(200, options) == 0.8);
  CHECK(one_shot_sparsity(4, 0.5, 5) == 0.0);
  CHECK(one_shot_sparsity(5, 0.5, 5) == 0.5);
  CHECK(one_shot_sparsity(0, 0.5) == 0.5);
}

TEST_CASE("lottery tickets keep the power of what a round keeps") {
  CHECK(lottery_ticket_sparsity(0) == 0.0);
  const double kept[] = {1.0, 0.8, 0.64, 0.512};
  for (Index level = 0; level < 4; ++level)
    CHECK(1.0 - lottery_ticket_sparsity(level) == Approx(kept[level]).epsilon(1e-12));
  CHECK(lottery_ticket_sparsity(2, 0.5) == 0.75);
  double previous = 0.0;
  for (Index level = 0; level < 200; ++level) {
    CHECK(lottery_ticket_sparsity(level) >= previous);
    previous = lottery_ticket_sparsity(level);
  }
  CHECK(lottery_ticket_sparsity(1, 1.0) == 1.0);
  CHECK_THROWS_AS(lottery_ticket_sparsity(-1), ArgumentError);
  CHECK_THROWS_AS(lottery_ticket_sparsity(1, 1.2), ArgumentError);
}

TEST_CASE("movement keeps all in its warm-up and little at its end") {
  const MovementSchedule schedule{.final = 0.3, .steps = 100, .warmup_steps = 10};
  double previous = 1.0;
  for (Index step = -5; step < 120; ++step) {
    const double keep = movement_keep(step, schedule);
    CHECK(keep <= previous);
    CHECK((keep == 1.0) == (step <= 10));
    CHECK((keep == 0.3) == (step >= 80));
    previous = keep;
  }
  CHECK(movement_keep(0, {.final = 0.25}) == 0.25);  // no steps: at once
  CHECK_THROWS_AS(movement_keep(0, {.steps = 29, .warmup_steps = 10}), ArgumentError);
  CHECK_THROWS_AS(movement_keep(0, {.steps = -1}), ArgumentError);
  CHECK_THROWS_AS(movement_keep(0, {.initial = 1.5}), ArgumentError);
  CHECK_THROWS_AS(movement_keep(0, {.final = -0.5}), ArgumentError);
}

TEST_CASE("schedules refuse what is none") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {-0.1, 1.1, nan}) {
    CHECK_THROWS_AS(one_shot_sparsity(0, bad), ArgumentError);
    CHECK_THROWS_AS(cubic_sparsity(0, {.initial = bad}), ArgumentError);
    CHECK_THROWS_AS(linear_sparsity(0, {.final = bad}), ArgumentError);
    CHECK_THROWS_AS(exponential_sparsity(1, 2, bad), ArgumentError);
    CHECK_THROWS_AS(linear_rounds_sparsity(1, 2, bad), ArgumentError);
    CHECK_THROWS_AS(per_round_ratio(2, bad), ArgumentError);
  }
  CHECK_THROWS_AS(exponential_sparsity(0, 0, 0.5), ArgumentError);
  CHECK_THROWS_AS(linear_rounds_sparsity(0, -1, 0.5), ArgumentError);
  CHECK_THROWS_AS(per_round_ratio(0, 0.5), ArgumentError);
  CHECK_THROWS_AS(cubic_sparsity(0, {.span = -1}), ArgumentError);
  CHECK_THROWS_AS(cubic_sparsity(0, {.every = 0}), ArgumentError);
  for (const double degree : {0.0, -1.0, nan, std::numeric_limits<double>::infinity()})
    CHECK_THROWS_AS(polynomial_sparsity(0, {}, degree), ArgumentError);
}
