#include "cli/structure/structure_report.hpp"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/names.hpp"
#include "cli/progress.hpp"
#include "cli/speed_up.hpp"
#include "pare/core/random.hpp"

namespace cli {
namespace {

double parameters(const engine::Checkpoint& checkpoint) {
  double sum = 0.0;
  for (const std::string& name : checkpoint.tensors().names()) {
    double count = 1.0;
    for (const Index extent : checkpoint.tensors().info(name).shape)
      count *= static_cast<double>(extent);
    sum += count;
  }
  return sum;
}

std::string short_count(double count) {
  char text[32];
  if (count >= 1e9)
    std::snprintf(text, sizeof text, "%.3f billion", count / 1e9);
  else
    std::snprintf(text, sizeof text, "%.3f million", count / 1e6);
  return text;
}

void print_change(const char* what, double before, double after) {
  std::printf("  %-14s %s -> %s, %.1f %% fewer\n", what, short_count(before).c_str(),
              short_count(after).c_str(), 100.0 * (1.0 - after / before));
}

struct BlockTimes {
  Index tokens;
  double before;  // in seconds, the median
  SpeedUp speed_up;
};

/// The first block of both models, a text of random activations.
BlockTimes time_blocks(const engine::Checkpoint& before, const engine::Checkpoint& after,
                       const pare::Execution& execution) {
  constexpr int runs = 15;
  const Index tokens = std::min<Index>(256, before.config().max_positions);
  pare::Random random(1);
  pare::Matrix<float> x({tokens, before.config().hidden_size});
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = random.normal();
  const engine::Block old_block = before.block(0), new_block = after.block(0);
  const engine::BlockRunner old_runner(before.config(), execution),
      new_runner(after.config(), execution);
  const auto run = [&](const engine::BlockRunner& runner, const engine::Block& block) {
    pare::Matrix<float> hidden = x;
    const Stopwatch watch;
    runner.prefill(block, hidden, tokens);
    return watch.seconds();
  };
  std::vector<double> old_times, ratios;
  for (int i = 0; i < runs; ++i) {
    old_times.push_back(run(old_runner, old_block));
    ratios.push_back(old_times.back() / run(new_runner, new_block));
  }
  return {tokens, bench::median(old_times), speed_up(ratios)};
}

void print_times(const engine::Checkpoint& before, const engine::Checkpoint& after,
                 const pare::Execution& execution) {
  if (before.config().block(0).experts) {
    std::printf("  time           not measured: experts are not in memory together\n");
    return;
  }
  const BlockTimes times = time_blocks(before, after, execution);
  const double blocks =
      static_cast<double>(before.config().layers) / static_cast<double>(after.config().layers);
  std::printf(
      "  time           %.2f times faster%s: %td tokens through the blocks, which took %.2f ms\n",
      blocks * times.speed_up.ratio,
      times.speed_up.steady ? "" : "? (the machine changed meanwhile)", times.tokens,
      1e3 * times.before * static_cast<double>(before.config().layers));
}

}  // namespace

double multiply_adds(const engine::ModelConfig& config) {
  double sum = config.encoder ? 0.0 : static_cast<double>(config.vocab_size * config.hidden_size);
  for (const engine::BlockDescription& block : config.blocks) {
    for (const engine::LinearDescription& linear : block.linears) {
      const double share = linear.expert < 0 ? 1.0
                                             : static_cast<double>(block.experts->chosen) /
                                                   static_cast<double>(block.experts->count);
      sum += share * static_cast<double>(linear.shape[0] * linear.shape[1]);
    }
    if (block.experts) sum += static_cast<double>(block.experts->count * config.hidden_size);
  }
  return sum;
}

void print_achieved(const StructureRecipe& recipe, const StructurePlan& plan,
                    const engine::Checkpoint& before, const engine::Checkpoint& after,
                    const pare::Execution& execution) {
  const PartCount& count = plan.count;
  std::printf("  %-14s ", std::string(name_of(structure_names, recipe.structure)).c_str());
  if (!plan.edits) std::printf("%.1f %% asked for, ", 100.0 * recipe.ratio);
  std::printf("%.1f %% removed: %td of %td",
              100.0 * static_cast<double>(count.removed) / static_cast<double>(count.parts),
              count.removed, count.parts);
  if (count.groups > 1) std::printf(" in %td groups", count.groups);
  std::printf("\n");
  for (const std::string& skipped : plan.skipped)
    std::printf("  skipped        %s\n", skipped.c_str());
  print_change("parameters", parameters(before), parameters(after));
  print_change("multiply-adds", multiply_adds(before.config()), multiply_adds(after.config()));
  print_times(before, after, execution);
}

}  // namespace cli
