#include "engine/block.hpp"

#include <cmath>

namespace engine {
namespace {

void x_plus(pare::MatrixView<float> x, const pare::Matrix<float>& y) {
  for (Index t = 0; t < x.rows(); ++t)
    for (Index c = 0; c < x.cols(); ++c) x(t, c) += y(t, c);
}

}  // namespace

void BlockRunner::prefill(const Block& block, pare::MatrixView<float> x, Index length,
                          std::optional<Capture> capture) const {
  const auto normed = norm(x, block.input_norm);
  x_plus(x, attention(block, normed, length, capture));
  x_plus(x, mlp(block, norm(x, block.post_attention_norm), capture));
}

void BlockRunner::extend(const Block& block, pare::MatrixView<float> x, Index start,
                         KeyValueCache& cache) const {
  const auto normed = norm(x, block.input_norm);
  LinearInput input(normed);
  auto q = block[LinearId::q].forward(input, execution_);
  const auto k = cache.keys.view().slice(0, start, x.rows());
  const auto v = cache.values.view().slice(0, start, x.rows());
  block[LinearId::k].forward(input, k, execution_);
  block[LinearId::v].forward(input, v, execution_);
  rope_.apply(q, start, x.rows(), execution_);
  rope_.apply(k, start, x.rows(), execution_);
  pare::Matrix<float> mixed({x.rows(), config_.q_size()});
  const Index seen = start + x.rows();
  attention_(q, cache.keys.view().slice(0, 0, seen), cache.values.view().slice(0, 0, seen), start,
             mixed, execution_);
  LinearInput output(mixed);
  x_plus(x, block[LinearId::o].forward(output, execution_));
  x_plus(x, mlp(block, norm(x, block.post_attention_norm), {}));
}

pare::Matrix<float> BlockRunner::norm(pare::MatrixView<const float> x,
                                      const pare::Vector<float>& weight) const {
  pare::Matrix<float> y({x.rows(), x.cols()});
  rms_norm(x, weight, config_.rms_norm_eps, y, execution_);
  return y;
}

pare::Matrix<float> BlockRunner::attention(const Block& block, pare::MatrixView<const float> normed,
                                           Index length, std::optional<Capture> capture) const {
  if (capture) (*capture)(Site::attention_input, normed);
  LinearInput input(normed);
  auto q = block[LinearId::q].forward(input, execution_);
  auto k = block[LinearId::k].forward(input, execution_);
  const auto v = block[LinearId::v].forward(input, execution_);
  rope_.apply(q, 0, length, execution_);
  rope_.apply(k, 0, length, execution_);
  pare::Matrix<float> mixed({normed.rows(), config_.q_size()});
  for (Index first = 0; first < normed.rows(); first += length)
    attention_(q.view().slice(0, first, length), k.view().slice(0, first, length),
               v.view().slice(0, first, length), 0, mixed.view().slice(0, first, length),
               execution_);
  if (capture) (*capture)(Site::attention_output, mixed);
  LinearInput output(mixed);
  return block[LinearId::o].forward(output, execution_);
}

pare::Matrix<float> BlockRunner::mlp(const Block& block, pare::MatrixView<const float> normed,
                                     std::optional<Capture> capture) const {
  if (capture) (*capture)(Site::mlp_input, normed);
  LinearInput input(normed);
  auto hidden = block[LinearId::gate].forward(input, execution_);
  const auto up = block[LinearId::up].forward(input, execution_);
  execution_.parallel_for(hidden.rows(), [&](Index t) {
    for (Index c = 0; c < hidden.cols(); ++c) {
      const float g = hidden(t, c);
      hidden(t, c) = g / (1.0f + std::exp(-g)) * up(t, c);
    }
  });
  if (capture) (*capture)(Site::mlp_hidden, hidden);
  LinearInput output(hidden);
  return block[LinearId::down].forward(output, execution_);
}

}  // namespace engine
