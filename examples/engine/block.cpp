#include "engine/block.hpp"

#include "engine/elementwise.hpp"
#include "engine/rms_norm.hpp"
#include "engine/scratch_matrix.hpp"

namespace engine {

void BlockRunner::run(const Block& block, pare::MatrixView<float> x, const Sequences& sequences,
                      std::optional<Capture> capture) const {
  const ScratchMatrix normed(execution_, x.rows(), x.cols());
  rms_norm(x, block.input_norm, config_.rms_norm_eps, normed, execution_);
  {
    const ScratchMatrix mixed(execution_, x.rows(), config_.q_size());
    attend(block, normed, sequences, mixed, capture);
    forward(mixed, {{block[LinearId::o], x, true}}, execution_);
  }
  rms_norm(x, block.post_attention_norm, config_.rms_norm_eps, normed, execution_);
  const ScratchMatrix hidden(execution_, x.rows(), config_.intermediate_size);
  activate(block, normed, hidden, capture);
  forward(hidden, {{block[LinearId::down], x, true}}, execution_);
}

void BlockRunner::attend(const Block& block, pare::MatrixView<const float> normed,
                         const Sequences& sequences, pare::MatrixView<float> mixed,
                         std::optional<Capture> capture) const {
  const auto& [length, start, cache] = sequences;
  const Index tokens = normed.rows(), kept = cache ? 0 : tokens;
  const ScratchMatrix q(execution_, tokens, config_.q_size());
  const ScratchMatrix own_keys(execution_, kept, config_.kv_size());
  const ScratchMatrix own_values(execution_, kept, config_.kv_size());
  const auto keys = cache ? cache->keys.view() : own_keys.view();
  const auto values = cache ? cache->values.view() : own_values.view();
  const auto k = keys.slice(0, start, tokens), v = values.slice(0, start, tokens);
  if (capture) (*capture)(Site::attention_input, normed);
  forward(normed, {{block[LinearId::q], q}, {block[LinearId::k], k}, {block[LinearId::v], v}},
          execution_);
  rope_.apply(q, k, start, length, execution_);
  for (Index first = 0; first < tokens; first += length)
    attention_(q.view().slice(0, first, length), keys.slice(0, first, start + length),
               values.slice(0, first, start + length), start, block.window,
               mixed.slice(0, first, length), execution_);
  if (capture) (*capture)(Site::attention_output, mixed);
}

void BlockRunner::activate(const Block& block, pare::MatrixView<const float> normed,
                           pare::MatrixView<float> hidden, std::optional<Capture> capture) const {
  const ScratchMatrix up(execution_, hidden.rows(), hidden.cols());
  if (capture) (*capture)(Site::mlp_input, normed);
  forward(normed, {{block[LinearId::gate], hidden}, {block[LinearId::up], up}}, execution_);
  execution_.parallel_for(hidden.rows(), [&](Index t) {
    silu_multiply(&hidden(t, 0), &up.view()(t, 0), hidden.cols());
  });
  if (capture) (*capture)(Site::mlp_hidden, hidden);
}

pare::Matrix<float> BlockRunner::attention(const Block& block, pare::MatrixView<const float> normed,
                                           Index length) const {
  const ScratchMatrix mixed(execution_, normed.rows(), config_.q_size());
  attend(block, normed, {.length = length}, mixed, {});
  return block[LinearId::o].forward(mixed, execution_);
}

pare::Matrix<float> BlockRunner::mlp(const Block& block,
                                     pare::MatrixView<const float> normed) const {
  const ScratchMatrix hidden(execution_, normed.rows(), config_.intermediate_size);
  activate(block, normed, hidden, {});
  return block[LinearId::down].forward(hidden, execution_);
}

}  // namespace engine
