#include "cli/pipeline/experts.hpp"

#include <algorithm>
#include <utility>

namespace cli {

ExpertTokens::ExpertTokens(const engine::ExpertsDescription& experts,
                           const pare::Matrix<float>& router, pare::MatrixView<const float> inputs,
                           Index least)
    : inputs_(inputs),
      routes_(engine::route(experts, router, inputs)),
      least_(std::max<Index>(1, least)) {}

bool ExpertTokens::has_few(Index expert) const {
  return std::ssize(routes_[static_cast<std::size_t>(expert)]) < least_;
}

pare::Matrix<float> ExpertTokens::of(Index expert) const {
  if (has_few(expert)) return pare::Matrix<float>(inputs_);
  const auto& routes = routes_[static_cast<std::size_t>(expert)];
  pare::Matrix<float> rows({std::ssize(routes), inputs_.cols()});
  for (Index r = 0; r < rows.rows(); ++r)
    pare::copy(inputs_.row(routes[static_cast<std::size_t>(r)].token), rows.row(r));
  return rows;
}

Index ExpertTokens::experts_with_few() const {
  Index few = 0;
  for (Index e = 0; e < std::ssize(routes_); ++e) few += has_few(e);
  return few;
}

BlockInWork take_expert(const engine::ModelConfig& config, BlockInWork& work, Index expert) {
  BlockInWork own;
  own.index = work.index;
  if (work.block.read_expert) own.block = work.block.read_expert(expert);
  auto& linears = work.block.description.linears;
  std::size_t next = 0;
  for (std::size_t i = 0; i < linears.size(); ++i) {
    if (linears[i].expert != expert) continue;
    own.layers.push_back({config.linear_name(work.index, i), linears[i].site, next++});
    if (work.block.read_expert) continue;
    own.block.description.linears.push_back(linears[i]);
    own.block.linears.push_back(std::move(work.block.linears[i]));
  }
  return own;
}

void give_expert_back(BlockInWork& own, BlockInWork& work, Index expert) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < work.block.linears.size(); ++i) {
    if (work.block.description.linears[i].expert != expert) continue;
    work.block.description.linears[i] = std::move(own.block.description.linears[next]);
    work.block.linears[i] = std::move(own.block.linears[next++]);
  }
  work.quantized.merge(own.quantized);
}

BlockStatistics expert_statistics(const engine::BlockRunner& runner, const BlockInWork& own,
                                  Index expert, const pare::Matrix<float>& x) {
  BlockStatistics statistics;
  statistics.window_length = x.rows();
  const auto add = [&](engine::Site::Kind kind, pare::Matrix<float> rows) {
    pare::ActivationStatistics of_site(rows.cols());
    of_site.add(rows, runner.execution());
    statistics.sites.emplace(engine::Site{kind, expert},
                             BlockStatistics::AtSite{std::move(of_site), std::move(rows)});
  };
  add(engine::Site::Kind::feed_forward_input, x);
  add(engine::Site::Kind::feed_forward_hidden, runner.expert_hidden(own.block, expert, x));
  return statistics;
}

}  // namespace cli
