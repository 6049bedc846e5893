#include "engine/model.hpp"

#include "engine/elementwise.hpp"

namespace engine {

Model Model::without_blocks() const {
  return {config,        embedding,           {}, final_norm, head, pooler, heads,
          pools_by_mean, normalizes_sentences};
}

pare::Matrix<float> Decoder::norm(pare::MatrixView<const float> x) const {
  pare::Matrix<float> y({x.rows(), x.cols()});
  apply_norm(model_->config.norm, model_->final_norm, x, y, runner_.execution());
  return y;
}

pare::Matrix<float> Decoder::normed(std::span<const std::int32_t> tokens, Index length,
                                    std::optional<HiddenStates> hidden) const {
  auto x = model_->embedding->rows(tokens, 0, length);
  if (hidden) (*hidden)(x);
  for (const Block& block : model_->blocks) {
    runner_.prefill(block, x, length);
    if (hidden) (*hidden)(x);
  }
  return norm(x);
}

pare::Matrix<float> Decoder::head(pare::MatrixView<const float> normed) const {
  const pare::Execution& execution = runner_.execution();
  const pare::Matrix<float>& embedding = model_->embedding->tokens;
  pare::Matrix<float> logits(
      {normed.rows(), model_->head ? model_->head->out_features() : embedding.rows()});
  if (model_->head)
    forward(normed, {{*model_->head, logits}}, execution);
  else
    multiply_dense(normed, embedding, logits, execution);
  const float scale = model_->config.logit_scale, cap = model_->config.logit_cap;
  if (scale == 1.0f && cap == 0.0f) return logits;
  execution.parallel_for(logits.rows(), [&](Index t) {
    float* const row = &logits(t, 0);
    for (Index i = 0; i < logits.cols(); ++i) row[i] *= scale;
    if (cap > 0.0f) soft_cap(row, cap, logits.cols());
  });
  return logits;
}

void Decoder::start(Index capacity) {
  position_ = 0;
  capacity_ = capacity;
  caches_.assign(model_->blocks.size(), KeyValueCache(capacity, model_->config.kv_size()));
}

pare::Matrix<float> Decoder::extend(std::span<const std::int32_t> tokens) {
  const Index count = std::ssize(tokens);
  if (position_ + count > capacity_)
    throw pare::ArgumentError("the sequence exceeds its " + std::to_string(capacity_) +
                              " positions");
  auto x = model_->embedding->rows(tokens, position_, count);
  for (std::size_t b = 0; b < model_->blocks.size(); ++b)
    runner_.extend(model_->blocks[b], x, position_, caches_[b]);
  position_ += count;
  return head(norm(x.view().slice(0, count - 1, 1)));
}

}  // namespace engine
