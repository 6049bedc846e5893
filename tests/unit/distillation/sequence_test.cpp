#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "pare/distillation/completion_source.hpp"
#include "pare/distillation/minillm.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"

using namespace pare;

TEST_CASE("sources of completions come as often as they should") {
  struct Row {
    std::function<CompletionSource(Random&)> draw;
    double data, student, teacher, replayed;
  };
  for (const Row& row : std::vector<Row>{
           {[](Random& r) { return gkd_source(r); }, 0.5, 0.5, 0, 0},
           {[](Random& r) {
              return gkd_source(r, {.student_share = 0.2, .teacher_otherwise = true});
            },
            0, 0.2, 0.8, 0},
           {[](Random& r) { return gkd_source(r, {.student_share = 0}); }, 1, 0, 0, 0},
           {[](Random& r) { return gkd_source(r, {.student_share = 1}); }, 0, 1, 0, 0},
           {[](Random& r) { return replay_source(r, 0.0, 10, 100); }, 1, 0, 0, 0},
           // 0.6 (1 - 0.25) new ones, 0.6 of the others old ones.
           {[](Random& r) { return replay_source(r, 0.6, 25, 100); }, 0.22, 0.45, 0, 0.33},
           {[](Random& r) { return replay_source(r, 1.0, 100, 100); }, 0, 0, 0, 1},
       }) {
    Random random(1), again(1);
    std::map<CompletionSource, double> count;
    constexpr int draws = 20000;
    bool is_repeatable = true;
    for (int i = 0; i < draws; ++i) {
      const CompletionSource source = row.draw(random);
      is_repeatable = is_repeatable && row.draw(again) == source;
      count[source] += 1.0 / draws;
    }
    CHECK(is_repeatable);
    CHECK(count[CompletionSource::data] == Approx(row.data).margin(0.012));
    CHECK(count[CompletionSource::student] == Approx(row.student).margin(0.012));
    CHECK(count[CompletionSource::teacher] == Approx(row.teacher).margin(0.012));
    CHECK(count[CompletionSource::replayed] == Approx(row.replayed).margin(0.012));
  }
  double threshold = 0.0;
  const std::vector<double> losses{3.0, 2.5, 2.55, 2.65, 2.75};
  for (std::size_t k = 1; k < losses.size(); ++k)
    threshold = next_replay_threshold(threshold, losses[k - 1], losses[k]);
  CHECK(threshold == Approx(0.2));  // twice the loss rose by a tenth
  CHECK(next_replay_threshold(0.95, 1.0, 2.0) == 1.0);
}

TEST_CASE("MiniLLM's terms are their formulas") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  // Two sequences of 3 and 2 tokens; the last of the second is padding.
  const std::vector<double> p{-1.0, -0.5, -3.0, -2.0, -0.1, nan},
      q{-0.5, -0.75, -0.25, -2.5, -0.3, nan};
  const MatrixView<const double> teacher(p, {2, 3}), student(q, {2, 3});
  const std::vector<Index> lengths{3, 2};
  const Matrix<double> rewards = minillm_rewards<double>(teacher, student, lengths);
  const double r[] = {-0.5, 0.25, -1.0, 0.5, 0.2, 0.0};
  for (Index k = 0; k < 6; ++k) CHECK(rewards.data()[k] == Approx(r[k]).margin(1e-15));

  const Matrix<double> w = minillm_importance<double>(student, teacher, lengths, 0.2);
  for (Index k = 0; k < 5; ++k) {
    const double pk = std::exp(p[static_cast<std::size_t>(k)]),
                 qk = std::exp(q[static_cast<std::size_t>(k)]);
    CHECK(w.data()[k] == Approx(qk / (0.8 * qk + 0.2 * pk)).epsilon(1e-14));
  }
  CHECK(w(1, 2) == 0.0);

  const Matrix<double> returns =
      minillm_advantages(rewards, lengths, {.discount = 0.9, .is_whitened = false});
  const double expected[] = {(-0.5 + 0.9 * 0.25 - 0.81) / 3.0,
                             (0.25 - 0.9) / 2.0,
                             -1.0,
                             (0.5 + 0.9 * 0.2) / 2.0,
                             0.2,
                             0.0};
  for (Index k = 0; k < 6; ++k) CHECK(returns.data()[k] == Approx(expected[k]).margin(1e-15));
  const Matrix<double> white = minillm_advantages(rewards, lengths, {.discount = 0.9});
  double mean = 0.0, squares = 0.0;
  for (Index k = 0; k < 5; ++k) {
    mean += white.data()[k] / 5.0;
    squares += white.data()[k] * white.data()[k] / 5.0;
  }
  CHECK(std::fabs(mean) < 1e-15);
  CHECK(squares == Approx(1.0).epsilon(1e-6));
  CHECK(white(1, 2) == 0.0);
  // The order stays.
  CHECK((white(0, 0) - white(0, 2)) / (returns(0, 0) - returns(0, 2)) ==
        Approx((white(1, 0) - white(1, 1)) / (returns(1, 0) - returns(1, 1))).epsilon(1e-12));
}

TEST_CASE("MiniLLM's policy loss is clipped on the side that would pay") {
  // Ratios within, above and below what is allowed, for advantages of both signs.
  const std::vector<double> ratio{1.0, 1.5, 0.5, 1.5, 0.5, 1.1}, a{2, 2, 2, -2, -2, -2},
      loss{-2.0, -2.4, -1.0, 3.0, 1.6, 2.2}, slope{-2.0, 0.0, -1.0, 3.0, 0.0, 2.2};
  Matrix<double> now({2, 3}), then({2, 3}), advantages({2, 3}), importance({2, 3}),
      gradient({2, 3});
  double sum = 0.0;
  for (Index k = 0; k < 6; ++k) {
    const auto u = static_cast<std::size_t>(k);
    importance.data()[k] = 1.25;
    then.data()[k] = -1.0;
    now.data()[k] = -1.0 + std::log(ratio[u] / 1.25);
    advantages.data()[k] = a[u];
    sum += loss[u] / 6.0;
  }
  const std::vector<Index> lengths{3, 3};
  const auto value = [&](const Matrix<double>& z) {
    return minillm_policy_loss<double>(z, then, advantages, importance, lengths);
  };
  CHECK(minillm_policy_loss<double>(now, then, advantages, importance, lengths, {}, gradient) ==
        Approx(sum).epsilon(1e-14));
  for (Index k = 0; k < 6; ++k)
    CHECK(gradient.data()[k] == Approx(slope[static_cast<std::size_t>(k)] / 6.0).margin(1e-14));
  CHECK(test::error_of_largest(gradient, test::central_differences(value, now)) < 1e-8);

  // Padding is not read, and has no gradient.
  const std::vector<Index> shorter{3, 1};
  now(1, 1) = now(1, 2) = std::numeric_limits<double>::quiet_NaN();
  const MinillmPolicyOptions options{.common = {.weight = 2, .add_gradient = true}};
  gradient.fill(1.0);
  CHECK(minillm_policy_loss<double>(now, then, advantages, importance, shorter, options,
                                    gradient) == Approx(2.0 * (-5.4 + 3.0) / 4.0).epsilon(1e-14));
  CHECK(gradient(1, 2) == 1.0);
  CHECK(gradient(0, 0) == Approx(1.0 - 2.0 * 2.0 / 4.0));
  const std::vector<Index> none{0, 0};
  CHECK(value(Matrix<double>({2, 3})) != 0.0);
  CHECK(minillm_policy_loss<double>(now, then, advantages, importance, none) == 0.0);
}

TEST_CASE("bad sequences are one clear line") {
  const Matrix<float> z({2, 3}), other({2, 4});
  const Matrix<double> d({2, 3});
  Matrix<float> infinite({2, 3});
  infinite(0, 1) = -std::numeric_limits<float>::infinity();
  const std::vector<Index> lengths{3, 2}, few{3}, beyond{3, 4};
  Random random(1);
  struct Row {
    const char* message;
    std::function<void()> call;
  };
  for (const Row& row : std::vector<Row>{
           {"there are 1 lengths for 2 sequences", [&] { (void)minillm_rewards(z, z, few); }},
           {"sequence 1 has the length 4 of 3 tokens",
            [&] { (void)minillm_importance(z, z, beyond); }},
           {"the teacher's log-probabilities has shape [2, 4]",
            [&] { (void)minillm_rewards(other, z, lengths); }},
           {"the teacher's log-probability is not finite at [0, 1]",
            [&] { (void)minillm_rewards(infinite, z, lengths); }},
           {"clipped to a positive number", [&] { (void)minillm_rewards(z, z, lengths, 0.0); }},
           {"share of the teacher in samples is 1",
            [&] { (void)minillm_importance(z, z, lengths, 1.0); }},
           {"the discount of rewards is 2",
            [&] { (void)minillm_advantages(d, lengths, {.discount = 2}); }},
           {"the clip of a ratio is -1",
            [&] { (void)minillm_policy_loss(z, z, d, d, lengths, {.clip = -1}); }},
           {"the share of the student's completions is 1.5",
            [&] { (void)gkd_source(random, {.student_share = 1.5}); }},
           {"the threshold of replay is -1", [&] { (void)replay_source(random, -1, 0, 1); }},
           {"there are 0 steps", [&] { (void)replay_source(random, 0.5, 0, 0); }},
       }) {
    CAPTURE(row.message);
    CHECK_THROWS_WITH(row.call(), ContainsSubstring(row.message));
  }
}
