#include "cli/structure/part_scores.hpp"

#include <algorithm>
#include <numeric>
#include <optional>

#include "cli/progress.hpp"
#include "engine/routing.hpp"
#include "pare/pruning/scores/angular_distance.hpp"
#include "pare/pruning/scores/block_influence.hpp"
#include "pare/pruning/scores/random.hpp"
#include "pare/pruning/scores/reap.hpp"
#include "pare/pruning/structure/axis_scores.hpp"

namespace cli {
namespace {

using pare::Matrix;
using pare::MatrixView;

/// Leads the calibration text through the model's blocks: calls visit(block, its number, stream)
/// before the stream moves on.
template <class Visit>
void for_each_block(const engine::Checkpoint& checkpoint, const CalibrationWindows& windows,
                    const pare::Execution& execution, const Visit& visit) {
  checkpoint.require_forward();
  const engine::BlockRunner runner(checkpoint.config(), execution);
  CalibrationStream stream(checkpoint.embedding(), windows, execution);
  Progress progress("scoring", checkpoint.config().layers);
  for (Index i = 0; i < checkpoint.config().layers; ++i) {
    progress.begin_block(i);
    const engine::Block block = checkpoint.block_without_experts(i);
    pare::with_context(checkpoint.config().block_prefix(i) + "*",
                       [&] { visit(runner, block, i, stream); });
    checkpoint.release_pages();
  }
}

double squared_norm(const engine::Block& block, const pare::Execution& execution) {
  double sum = 0.0;
  for (const engine::Linear& linear : block.linears)
    for (const double row : pare::axis_norms(linear.dense().view(), 0, 2.0, execution)) sum += row;
  return sum;
}

/// The last token of each window.
Matrix<float> last_tokens(MatrixView<const float> hidden, Index length) {
  Matrix<float> last({hidden.rows() / length, hidden.cols()});
  for (Index s = 0; s < last.rows(); ++s)
    pare::copy(hidden.row((s + 1) * length - 1), last.view().row(s));
  return last;
}

std::vector<double> influences(const engine::Checkpoint& checkpoint,
                               const CalibrationWindows& windows,
                               const pare::Execution& execution) {
  std::vector<double> scores;
  for_each_block(checkpoint, windows, execution,
                 [&](const auto& runner, const auto& block, Index, CalibrationStream& stream) {
                   const Matrix<float> before = stream.visible();
                   stream.advance(runner, block);
                   pare::BlockInfluence influence;
                   influence.add(before, stream.visible());
                   scores.push_back(influence.score());
                 });
  return scores;
}

std::vector<double> angles(Index run, const engine::Checkpoint& checkpoint,
                           const CalibrationWindows& windows, const pare::Execution& execution) {
  std::vector<Matrix<float>> states;
  for_each_block(checkpoint, windows, execution,
                 [&](const auto& runner, const auto& block, Index i, CalibrationStream& stream) {
                   if (i == 0) states.push_back(last_tokens(stream.hidden(), stream.length()));
                   stream.advance(runner, block);
                   states.push_back(last_tokens(stream.hidden(), stream.length()));
                 });
  std::vector<double> scores;
  for (std::size_t i = 0; i + static_cast<std::size_t>(run) < states.size(); ++i) {
    pare::AngularDistance distance;
    distance.add(states[i], states[i + static_cast<std::size_t>(run)]);
    scores.push_back(distance.score());
  }
  return scores;
}

/// Adds what an expert makes of the tokens that it gets.
void add_expert(const engine::BlockRunner& runner, const engine::Block& holder, Index expert,
                const std::vector<engine::Route>& routes, MatrixView<const float> x,
                pare::ExpertSaliency& saliency) {
  if (routes.empty()) return;
  const auto tokens = std::ssize(routes);
  Matrix<float> own({tokens, x.cols()});
  pare::Vector<float> gates({tokens});
  for (Index r = 0; r < tokens; ++r) {
    pare::copy(x.row(routes[static_cast<std::size_t>(r)].token), own.view().row(r));
    gates[r] = routes[static_cast<std::size_t>(r)].weight;
  }
  const Matrix<float> hidden = runner.expert_hidden(holder, expert, own);
  saliency.add(expert, gates,
               holder.layer(engine::Role::down, expert).forward(hidden, runner.execution()));
}

std::vector<double> saliencies(const engine::BlockRunner& runner, const engine::Block& block,
                               const CalibrationStream& stream) {
  const engine::ExpertsDescription& experts = *block.description.experts;
  pare::ExpertSaliency saliency(experts.count);
  stream.observe(runner, block, [&](engine::Site site, MatrixView<const float> x) {
    if (site != engine::Site::feed_forward_input) return;
    const auto routes = engine::route(experts, block.router, x);
    for (Index e = 0; e < experts.count; ++e) {
      const auto add = [&](const engine::Block& holder) {
        add_expert(runner, holder, e, routes[static_cast<std::size_t>(e)], x, saliency);
      };
      if (block.read_expert)
        add(block.read_expert(e));
      else
        add(block);
    }
  });
  const pare::Vector<float> scores = saliency.scores();
  return {scores.data(), scores.data() + scores.size()};
}

}  // namespace

std::vector<double> block_scores(StructureScore score, Index run,
                                 const engine::Checkpoint& checkpoint,
                                 const CalibrationWindows* windows,
                                 const pare::Execution& execution) {
  if (score == StructureScore::influence) return influences(checkpoint, *windows, execution);
  if (score == StructureScore::angular) return angles(run, checkpoint, *windows, execution);
  std::vector<double> scores;
  const Index blocks = checkpoint.config().layers;
  if (score == StructureScore::random) {
    const Matrix<float> random = pare::random_scores({1, blocks}, 0);
    scores.assign(random.data(), random.data() + blocks);
    return scores;
  }
  for (Index i = 0; i < blocks; ++i) {
    scores.push_back(squared_norm(checkpoint.block(i), execution));
    checkpoint.release_pages();
  }
  return scores;
}

std::vector<Index> lowest_parts(std::span<const double> scores, Index count) {
  std::vector<Index> order(scores.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return scores[static_cast<std::size_t>(a)] < scores[static_cast<std::size_t>(b)];
  });
  order.resize(static_cast<std::size_t>(count));
  std::sort(order.begin(), order.end());
  return order;
}

std::vector<Index> removed_blocks(StructureScore score, Index count,
                                  const engine::Checkpoint& checkpoint,
                                  const CalibrationWindows* windows,
                                  const pare::Execution& execution) {
  const std::vector<double> scores = block_scores(score, count, checkpoint, windows, execution);
  if (score != StructureScore::angular) return lowest_parts(scores, count);
  std::vector<Index> run(static_cast<std::size_t>(count));
  std::iota(run.begin(), run.end(), lowest_parts(scores, 1).front());
  return run;
}

std::vector<std::vector<double>> expert_scores(StructureScore score,
                                               const engine::Checkpoint& checkpoint,
                                               const CalibrationWindows* windows,
                                               const pare::Execution& execution) {
  const engine::ModelConfig& config = checkpoint.config();
  std::vector<std::vector<double>> scores(static_cast<std::size_t>(config.layers));
  if (score == StructureScore::random) {
    for (Index i = 0; i < config.layers; ++i) {
      if (!config.block(i).experts) continue;
      const Index count = config.block(i).experts->count;
      const auto random = pare::random_scores({1, count}, static_cast<std::uint64_t>(i));
      scores[static_cast<std::size_t>(i)].assign(random.data(), random.data() + count);
    }
    return scores;
  }
  for_each_block(checkpoint, *windows, execution,
                 [&](const auto& runner, const auto& block, Index i, CalibrationStream& stream) {
                   if (block.description.experts)
                     scores[static_cast<std::size_t>(i)] = saliencies(runner, block, stream);
                   stream.advance(runner, block);
                 });
  return scores;
}

}  // namespace cli
