#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "pare/distillation/progressive_shrinking.hpp"
#include "pare/distillation/temperature_schedule.hpp"
#include "pare/distillation/theseus.hpp"
#include "pare/distillation/weight_schedule.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"

using namespace pare;

TEST_CASE("temperatures of samples are TextBrewer's formulas") {
  const test::DistillationOracle oracle;
  const Matrix<double> s = oracle.tensor<double>("logits.student"),
                       t = oracle.tensor<double>("logits.teacher");
  const auto expected = [&](const std::function<double(Index)>& weight, double beta) {
    std::vector<double> tau;
    double mean = 0.0;
    for (Index i = 0; i < s.rows(); ++i) mean += weight(i) / static_cast<double>(s.rows());
    for (Index i = 0; i < s.rows(); ++i)
      tau.push_back(std::max(4.0 + (mean - weight(i)) * beta, 0.1));
    return tau;
  };
  const auto dot = [&](const Matrix<double>& a, const Matrix<double>& b, Index i) {
    double sum = 0.0;
    for (Index j = 0; j < s.cols(); ++j) sum += a(i, j) * b(i, j);
    return sum;
  };
  const auto flsw = [&](Index i) {
    return std::pow(1.0 - dot(s, t, i) / std::sqrt(dot(s, s, i) * dot(t, t, i)), 2.0);
  };
  const auto cwsm = [&](Index i) {
    double sum = 0.0, largest = 0.0;
    for (Index j = 0; j < s.cols(); ++j) {
      sum += std::exp(s(i, j));
      largest = std::max(largest, std::exp(s(i, j)));
    }
    return 1.0 / (largest / sum + 1e-3);
  };
  for (const double beta : {0.0, 1.0, 3.0, -2.0, 1000.0}) {
    CAPTURE(beta);
    const auto a = flsw_temperatures<double>(s, t, {.beta = beta, .gamma = 2});
    const auto b = cwsm_temperatures<double>(s, {.beta = beta});
    const auto of_a = expected(flsw, beta), of_b = expected(cwsm, beta);
    for (Index i = 0; i < s.rows(); ++i) {
      CHECK(a[i] == Approx(of_a[static_cast<std::size_t>(i)]).epsilon(1e-10));
      CHECK(b[i] == Approx(of_b[static_cast<std::size_t>(i)]).epsilon(1e-10));
    }
  }
  const Matrix<float> zero({3, 4});
  const auto none = flsw_temperatures(zero, zero);
  for (const double tau : none.span()) CHECK(tau == 4.0);
  CHECK(flsw_temperatures<double>(s, s, {.gamma = 0.5})[0] == Approx(4.0).margin(1e-7));
}

TEST_CASE("weights and rates of replacement begin, grow and end as they should") {
  CHECK(linear_growth(0, 8) == 0.0);
  CHECK(linear_growth(2, 8) == 0.25);
  CHECK(linear_growth(9, 8) == 1.0);
  CHECK(linear_decay(2, 8) == 0.75);
  CHECK(linear_decay(-1, 8) == 1.0);
  CHECK(dkd_warmup(5) == 0.25);
  CHECK(dkd_warmup(240) == 1.0);
  CHECK(constant_replacing_rate(0, 0.5, 2500) == 0.5);
  CHECK(constant_replacing_rate(2499, 0.5, 2500) == 0.5);
  CHECK(constant_replacing_rate(2500, 0.5, 2500) == 1.0);
  CHECK(constant_replacing_rate(0, 0.5, 0) == 0.5);
  CHECK(constant_replacing_rate(1, 0.5, 0) == 1.0);
  CHECK(linear_replacing_rate(0, 0.3, 6e-4) == 0.3);
  CHECK(linear_replacing_rate(500, 0.3, 6e-4) == Approx(0.6));
  CHECK(linear_replacing_rate(5000, 0.3, 6e-4) == 1.0);
  CHECK(predecessors_per_successor(12, 6) == 2);
  Random random(3), again(3);
  std::vector<double> share(6);
  for (int pass = 0; pass < 5000; ++pass) {
    const std::vector<bool> replaced = replaced_modules(6, 0.3, random);
    CHECK(replaced_modules(6, 0.3, again) == replaced);
    for (std::size_t k = 0; k < 6; ++k) share[k] += replaced[k] ? 1.0 / 5000 : 0.0;
  }
  for (const double s : share) CHECK(s == Approx(0.3).margin(0.025));
  const std::vector<bool> all = replaced_modules(4, 1.0, random);
  CHECK(std::count(all.begin(), all.end(), true) == 4);
}

TEST_CASE("progressive shrinking samples every subnetwork of a stage equally") {
  const std::vector<ShrinkingStage> stages = once_for_all_stages();
  std::vector<std::size_t> stage_of;
  for (const Index epoch : {0, 119, 120, 144, 145, 264, 265, 289, 290, 409, 1000})
    stage_of.push_back(shrinking_stage(stages, epoch));
  CHECK(stage_of == std::vector<std::size_t>{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4});
  for (std::size_t s = 1; s < stages.size(); ++s) {
    CHECK(stages[s].kernel_sizes.size() >= stages[s - 1].kernel_sizes.size());
    CHECK(stages[s].depths.size() >= stages[s - 1].depths.size());
    CHECK(stages[s].expansions.size() >= stages[s - 1].expansions.size());
  }
  Random random(7), again(7);
  std::map<Index, int> depths, kernels, expansions;
  for (int k = 0; k < 600; ++k) {
    const Subnet subnet = sample_subnet(stages[4], 5, 4, random);
    REQUIRE(subnet.depths.size() == 5);
    REQUIRE(subnet.kernel_sizes.size() == 20);
    REQUIRE(subnet.expansions.size() == 20);
    CHECK(sample_subnet(stages[4], 5, 4, again).kernel_sizes == subnet.kernel_sizes);
    for (const Index d : subnet.depths) ++depths[d];
    for (const Index d : subnet.kernel_sizes) ++kernels[d];
    for (const Index d : subnet.expansions) ++expansions[d];
  }
  for (const Index d : {2, 3, 4}) CHECK(depths[d] == Approx(1000).margin(120));
  for (const Index d : {3, 5, 7}) CHECK(kernels[d] == Approx(4000).margin(240));
  for (const Index d : {3, 4, 6}) CHECK(expansions[d] == Approx(4000).margin(240));
  CHECK(depths.size() + kernels.size() + expansions.size() == 9);
}

TEST_CASE("bad schedules are one clear line") {
  const Matrix<float> z({2, 3});
  Matrix<float> infinite({2, 3});
  infinite(1, 1) = -std::numeric_limits<float>::infinity();
  Random random(1);
  struct Row {
    const char* message;
    std::function<void()> call;
  };
  for (const Row& row : std::vector<Row>{
           {"there are 0 steps", [] { (void)linear_growth(1, 0); }},
           {"the rate of replacing is 0", [] { (void)constant_replacing_rate(0, 0.0, 5); }},
           {"the rate of replacing is 1.5", [&] { (void)replaced_modules(3, 1.5, random); }},
           {"the rate of replacing grows by -1", [] { (void)linear_replacing_rate(0, 0.3, -1); }},
           {"12 modules are not replaced by 5", [] { (void)predecessors_per_successor(12, 5); }},
           {"there are no stages", [] { (void)shrinking_stage({}, 0); }},
           {"epoch -1 of shrinking", [] { (void)shrinking_stage(once_for_all_stages(), -1); }},
           {"a network of 0 units",
            [&] { (void)sample_subnet(once_for_all_stages()[0], 0, 4, random); }},
           {"the stage \"mine\" has no depth to choose",
            [&] {
              (void)sample_subnet(
                  {.name = "mine", .kernel_sizes = {3}, .depths = {}, .expansions = {6}}, 1, 1,
                  random);
            }},
           {"the temperature is 0", [&] { (void)cwsm_temperatures(z, {.temperature = 0}); }},
           {"the temperature that is the lowest is -1",
            [&] { (void)cwsm_temperatures(z, {.lowest = -1}); }},
           {"with beta 1.000000 and gamma -1",
            [&] { (void)flsw_temperatures(z, z, {.gamma = -1}); }},
           {"the teacher's logits hold -infinity at [1, 1]",
            [&] { (void)flsw_temperatures(z, infinite); }},
       }) {
    CAPTURE(row.message);
    CHECK_THROWS_WITH(row.call(), ContainsSubstring(row.message));
  }
}
