#include "engine/block.hpp"

#include <algorithm>

#include "engine/activation.hpp"
#include "engine/routing.hpp"
#include "engine/scratch_matrix.hpp"

namespace engine {
namespace {

Index rows_of(const Block& block, Role role, Index expert = Site::all_tokens) {
  return block.description.find(role, expert)->part->rows();
}

/// Rows of `fused` that are one part, one after the other.
void take_part(pare::MatrixView<const float> fused, const LayerPart& part,
               pare::MatrixView<float> y) {
  for (Index t = 0; t < y.rows(); ++t)
    for (Index run = 0; run < part.runs; ++run)
      std::copy_n(&fused(t, part.first + run * part.step), part.length, &y(t, run * part.length));
}

/// The rows that are seen, one after the other.
void take_visible(pare::MatrixView<const float> all, std::span<const std::uint8_t> visible,
                  pare::MatrixView<float> y) {
  Index next = 0;
  for (std::size_t t = 0; t < visible.size(); ++t)
    if (visible[t]) pare::copy(all.row(static_cast<Index>(t)), y.row(next++));
}

}  // namespace

BlockRunner::BlockRunner(const ModelConfig& config, pare::Execution execution)
    : config_(config), attention_(config), execution_(execution) {
  for (const RopeParameters& rope : config.ropes) ropes_.emplace_back(config.head_dim, rope);
}

void BlockRunner::run(const Block& block, pare::MatrixView<float> x, const Sequences& sequences,
                      std::optional<Capture> capture) const {
  const auto input_of = [&](NormPlace place,
                            pare::MatrixView<float> memory) -> pare::MatrixView<const float> {
    const Norm& norm = block.norm(place);
    if (norm.empty()) return x;
    apply_norm(config_.norm, norm, x, memory, execution_);
    return memory;
  };
  const Index tokens = x.rows();
  const ScratchMatrix normed(execution_, tokens, x.cols());
  const auto input = input_of(NormPlace::attention_input, normed);
  if (config_.parallel) {
    const bool has_own = !block.norm(NormPlace::feed_forward_input).empty();
    const ScratchMatrix own(execution_, has_own ? tokens : 0, x.cols());
    const ScratchMatrix mixed(execution_, tokens, config_.q_size());
    const auto second = has_own ? input_of(NormPlace::feed_forward_input, own) : input;
    attend(block, input, sequences, mixed, capture);
    // Both have been read of the old x.
    feed_forward(block, second, x, capture, sequences.runs_experts);
    add_half(block, Role::attention_output, NormPlace::attention_output, mixed, x);
    return;
  }
  {
    const ScratchMatrix mixed(execution_, tokens, config_.q_size());
    attend(block, input, sequences, mixed, capture);
    add_half(block, Role::attention_output, NormPlace::attention_output, mixed, x);
  }
  norm_sum(block, NormPlace::attention_sum, x);
  const auto second = input_of(NormPlace::feed_forward_input, normed);
  feed_forward(block, second, x, capture, sequences.runs_experts);
  norm_sum(block, NormPlace::feed_forward_sum, x);
}

void BlockRunner::add_half(const Block& block, Role last, NormPlace place,
                           pare::MatrixView<const float> input, pare::MatrixView<float> x) const {
  if (block.norm(place).empty() && config_.residual_scale == 1.0f)
    return forward(input, {{block[last], x, true}}, execution_);
  const ScratchMatrix y(execution_, x.rows(), x.cols());
  forward(input, {{block[last], y}}, execution_);
  add_normed(block, place, y, x);
}

void BlockRunner::add_normed(const Block& block, NormPlace place, pare::MatrixView<float> y,
                             pare::MatrixView<float> x) const {
  if (const Norm& norm = block.norm(place); !norm.empty())
    apply_norm(config_.norm, norm, y, y, execution_);
  execution_.parallel_for(x.rows(), [&](Index t) {
    for (Index i = 0; i < x.cols(); ++i) x(t, i) += config_.residual_scale * y(t, i);
  });
}

void BlockRunner::feed_forward(const Block& block, pare::MatrixView<const float> input,
                               pare::MatrixView<float> x, std::optional<Capture> capture,
                               bool runs_experts) const {
  if (block.description.experts) {
    const ScratchMatrix sum(execution_, x.rows(), x.cols());
    mix_experts(block, input, sum, capture, runs_experts);
    return add_normed(block, NormPlace::feed_forward_output, sum, x);
  }
  const ScratchMatrix hidden(execution_, x.rows(), rows_of(block, Role::up));
  activate(block, input, hidden, capture);
  add_half(block, Role::down, NormPlace::feed_forward_output, hidden, x);
}

void BlockRunner::mix_experts(const Block& block, pare::MatrixView<const float> input,
                              pare::MatrixView<float> sum, std::optional<Capture> capture,
                              bool runs_experts) const {
  const ExpertsDescription& experts = *block.description.experts;
  for (Index t = 0; t < sum.rows(); ++t) std::fill_n(&sum(t, 0), sum.cols(), 0.0f);
  if (capture) (*capture)(Site::feed_forward_input, input);
  if (block.description.find(Role::down, Site::shared_expert)) {
    const ScratchMatrix hidden(execution_, input.rows(),
                               rows_of(block, Role::up, Site::shared_expert));
    activate(block, input, hidden, capture, Site::shared_expert);
    forward(hidden, {{block.layer(Role::down, Site::shared_expert), sum}}, execution_);
    if (!block.shared_gate.empty()) scale_by_gate(input, block.shared_gate, sum);
  }
  if (!runs_experts) return;
  const std::vector<std::vector<Route>> routes = route(experts, block.router, input);
  for (Index e = 0; e < experts.count; ++e) {
    const std::vector<Route>& own = routes[static_cast<std::size_t>(e)];
    if (own.empty()) continue;
    const auto tokens = static_cast<Index>(own.size());
    const ScratchMatrix x(execution_, tokens, input.cols()), y(execution_, tokens, sum.cols());
    for (Index r = 0; r < tokens; ++r)
      pare::copy(input.row(own[static_cast<std::size_t>(r)].token), x.view().row(r));
    const auto compute = [&](const Block& holder) {
      const ScratchMatrix hidden(execution_, tokens, rows_of(holder, Role::up, e));
      activate(holder, x, hidden, {}, e);
      forward(hidden, {{holder.layer(Role::down, e), y}}, execution_);
    };
    if (block.read_expert)
      compute(block.read_expert(e));
    else
      compute(block);
    for (Index r = 0; r < tokens; ++r) {
      const auto& [token, weight] = own[static_cast<std::size_t>(r)];
      for (Index i = 0; i < sum.cols(); ++i) sum(token, i) += weight * y.view()(r, i);
    }
  }
}

void BlockRunner::norm_sum(const Block& block, NormPlace place, pare::MatrixView<float> x) const {
  if (const Norm& norm = block.norm(place); !norm.empty())
    apply_norm(config_.norm, norm, x, x, execution_);
}

void BlockRunner::project(const Block& block, pare::MatrixView<const float> x,
                          std::span<const Target> targets, Index expert) const {
  const auto target_of = [&](Role role) {
    return std::find_if(targets.begin(), targets.end(),
                        [&](const Target& target) { return target.role == role; });
  };
  std::vector<LinearOutput> whole;
  whole.reserve(targets.size());
  for (std::size_t i = 0; i < block.linears.size(); ++i) {
    if (block.description.linears[i].expert != expert) continue;
    const auto& parts = block.description.linears[i].parts;
    const auto first = target_of(parts.front().role);
    if (first == targets.end()) continue;
    if (parts.size() == 1) {
      whole.push_back({block.linears[i], first->y});
      continue;
    }
    const ScratchMatrix fused(execution_, x.rows(), block.linears[i].out_features());
    forward(x, {{block.linears[i], fused}}, execution_);
    for (const LayerPart& part : parts) take_part(fused, part, target_of(part.role)->y);
  }
  forward(x, whole, execution_);
}

void BlockRunner::attend(const Block& block, pare::MatrixView<const float> input,
                         const Sequences& sequences, pare::MatrixView<float> mixed,
                         std::optional<Capture> capture) const {
  const Index length = sequences.length, start = sequences.start;
  KeyValueCache* const cache = sequences.cache;
  const Index tokens = input.rows(), kept = cache ? 0 : tokens;
  const ScratchMatrix q(execution_, tokens, config_.q_size());
  const ScratchMatrix own_keys(execution_, kept, config_.kv_size());
  const ScratchMatrix own_values(execution_, kept, config_.kv_size());
  const auto keys = cache ? cache->keys.view() : own_keys.view();
  const auto values = cache ? cache->values.view() : own_values.view();
  const auto k = keys.slice(0, start, tokens), v = values.slice(0, start, tokens);
  if (capture) (*capture)(Site::attention_input, input);
  const Target targets[] = {{Role::query, q}, {Role::key, k}, {Role::value, v}};
  project(block, input, targets);
  const auto norm = [&](const Norm& n, pare::MatrixView<float> x) {
    if (config_.query_key_norm == QueryKeyNorm::own_of_heads)
      apply_norm_of_heads(config_.norm, n, config_.head_dim, x, execution_);
    else if (config_.query_key_norm != QueryKeyNorm::none)
      apply_norm(config_.norm, n, x, x, execution_);
  };
  norm(block.query_norm, q);
  norm(block.key_norm, k);
  if (block.description.rope)
    ropes_[*block.description.rope].apply(q, k, start, length, execution_);
  for (Index first = 0; first < tokens; first += length) {
    const auto some = [&](pare::MatrixView<float> x) { return x.slice(0, first, start + length); };
    const std::span<const std::uint8_t> visible =
        sequences.visible.empty() ? sequences.visible
                                  : sequences.visible.subspan(static_cast<std::size_t>(first),
                                                              static_cast<std::size_t>(length));
    const Index seen = static_cast<Index>(length - std::count(visible.begin(), visible.end(), 0));
    const bool all = visible.empty() || seen == length;
    const ScratchMatrix seen_keys(execution_, all ? 0 : seen, keys.cols());
    const ScratchMatrix seen_values(execution_, all ? 0 : seen, values.cols());
    if (!all) {
      take_visible(some(keys), visible, seen_keys);
      take_visible(some(values), visible, seen_values);
    }
    attention_(q.view().slice(0, first, length), all ? some(keys) : seen_keys.view(),
               all ? some(values) : seen_values.view(), start, block.description.window,
               mixed.slice(0, first, length), execution_);
  }
  if (capture) (*capture)(Site::attention_output, mixed);
}

void BlockRunner::activate(const Block& block, pare::MatrixView<const float> input,
                           pare::MatrixView<float> hidden, std::optional<Capture> capture,
                           Index expert) const {
  const BlockDescription& description = block.description;
  const bool is_gated = description.is_gated(expert);
  const Site site = description.linears[description.find(Role::up, expert)->linear].site;
  // What attention or all experts read, too, has been shown.
  if (capture && site != Site::attention_input && expert != Site::shared_expert)
    (*capture)(site, input);
  const ScratchMatrix up(execution_, is_gated ? hidden.rows() : 0, hidden.cols());
  const Target gated[] = {{Role::gate, hidden}, {Role::up, up}};
  const Target plain[] = {{Role::up, hidden}};
  project(block, input, is_gated ? std::span<const Target>(gated) : plain, expert);
  execution_.parallel_for(hidden.rows(), [&](Index t) {
    if (is_gated)
      apply_gate(config_.activation, &hidden(t, 0), &up.view()(t, 0), hidden.cols());
    else
      apply_activation(config_.activation, &hidden(t, 0), hidden.cols());
  });
  if (capture) (*capture)({Site::Kind::feed_forward_hidden, expert}, hidden);
}

pare::Matrix<float> BlockRunner::expert_hidden(const Block& block, Index expert,
                                               pare::MatrixView<const float> x) const {
  pare::Matrix<float> hidden({x.rows(), rows_of(block, Role::up, expert)});
  activate(block, x, hidden, {}, expert);
  return hidden;
}

pare::Matrix<float> BlockRunner::output_behind(const Block& block, Site site,
                                               pare::MatrixView<const float> x, Index length,
                                               Visible visible) const {
  const BlockDescription& description = block.description;
  if (site.kind == Site::Kind::attention_output)
    return block[Role::attention_output].forward(x, execution_);
  if (site.kind == Site::Kind::feed_forward_hidden)
    return block.layer(Role::down, site.expert).forward(x, execution_);
  pare::Matrix<float> y({x.rows(), config_.hidden_size});
  if (site == Site::attention_input) {
    const ScratchMatrix mixed(execution_, x.rows(), config_.q_size());
    attend(block, x, {.length = length, .visible = visible}, mixed, {});
    forward(mixed, {{block[Role::attention_output], y}}, execution_);
  }
  if (description.experts && site == Site::feed_forward_input) {
    mix_experts(block, x, y, {});
    return y;
  }
  const auto up = description.find(Role::up, site.expert);
  if (up && description.linears[up->linear].site == site) {
    const ScratchMatrix hidden(execution_, x.rows(), rows_of(block, Role::up, site.expert));
    activate(block, x, hidden, {}, site.expert);
    forward(hidden, {{block.layer(Role::down, site.expert), y, site == Site::attention_input}},
            execution_);
  }
  return y;
}

}  // namespace engine
