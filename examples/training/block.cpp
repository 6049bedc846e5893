#include "training/block.hpp"

#include <algorithm>

namespace training {
namespace {

using engine::LayerPart;
using engine::NormPlace;
using engine::Role;

/// Rows of `fused` that are one part, one after the other, and the way back.
template <Scalar S>
void take_part(pare::MatrixView<const S> fused, const LayerPart& part, pare::MatrixView<S> y) {
  for (Index t = 0; t < y.rows(); ++t)
    for (Index run = 0; run < part.runs; ++run)
      std::copy_n(&fused(t, part.first + run * part.step), part.length, &y(t, run * part.length));
}
template <Scalar S>
void put_part(pare::MatrixView<const S> y, const LayerPart& part, pare::MatrixView<S> fused) {
  for (Index t = 0; t < y.rows(); ++t)
    for (Index run = 0; run < part.runs; ++run)
      std::copy_n(&y(t, run * part.length), part.length, &fused(t, part.first + run * part.step));
}

template <Scalar S>
void add(pare::MatrixView<const S> x, S factor, pare::MatrixView<S> y,
         const pare::Execution& execution) {
  execution.parallel_for(y.rows(), [&](Index t) {
    const S* const from = &x(t, 0);
    S* const to = &y(t, 0);
    for (Index j = 0; j < y.cols(); ++j) to[j] += factor * from[j];
  });
}

constexpr std::size_t at_role(Role role) { return static_cast<std::size_t>(role); }

}  // namespace

template <Scalar S>
void BlockTrainer<S>::project(const TrainedBlock& block, pare::MatrixView<const S> x,
                              const Views& outputs, const pare::Execution& execution) {
  for (std::size_t i = 0; i < block.linears.size(); ++i) {
    const std::vector<LayerPart>& parts = block.description.linears[i].parts;
    if (outputs[at_role(parts.front().role)].empty()) continue;
    const auto w = read(block.linears[i].weight), bias = read(block.linears[i].bias);
    if (parts.size() == 1) {
      linear<S>(x, w, bias, outputs[at_role(parts.front().role)], execution);
      continue;
    }
    const auto fused = shaped(fused_, x.rows(), w.rows());
    linear<S>(x, w, bias, fused, execution);
    for (const LayerPart& part : parts) take_part<S>(fused, part, outputs[at_role(part.role)]);
  }
}

template <Scalar S>
void BlockTrainer<S>::project_back(const TrainedBlock& block, pare::MatrixView<const S> x,
                                   const Views& gradients, pare::MatrixView<S> dx,
                                   const pare::Execution& execution) {
  for (std::size_t i = 0; i < block.linears.size(); ++i) {
    const std::vector<LayerPart>& parts = block.description.linears[i].parts;
    pare::MatrixView<S> dy = gradients[at_role(parts.front().role)];
    if (dy.empty()) continue;
    const LinearParameters& layer = block.linears[i];
    if (parts.size() > 1) {
      dy = shaped(fused_, x.rows(), read(layer.weight).rows());
      for (const LayerPart& part : parts) put_part<S>(gradients[at_role(part.role)], part, dy);
    }
    linear_backward<S>(dy, x, read(layer.weight), gradient(layer.weight), gradient(layer.bias), dx,
                       execution);
  }
}

template <Scalar S>
void BlockTrainer<S>::add_half(const NormParameters& norm, pare::MatrixView<const S> half,
                               pare::MatrixView<S> y, const pare::Execution& execution) {
  add<S>(normed(norm, half, normed_, execution), S(config_->residual_scale), y, execution);
}

template <Scalar S>
pare::MatrixView<S> BlockTrainer<S>::half_back(const NormParameters& norm,
                                               pare::MatrixView<const S> half,
                                               pare::MatrixView<const S> dy,
                                               pare::Matrix<S>& memory,
                                               const pare::Execution& execution) {
  const auto dhalf = shaped(memory, dy.rows(), dy.cols(), true);
  if (!norm.weight) {
    add<S>(dy, S(config_->residual_scale), dhalf, execution);
    return dhalf;
  }
  const auto dnormed = shaped(dnormed_, dy.rows(), dy.cols(), true);
  add<S>(dy, S(config_->residual_scale), dnormed, execution);
  norm_back(norm, half.cols(), half, dnormed, dhalf, execution);
  return dhalf;
}

template <Scalar S>
void BlockTrainer<S>::attend(const TrainedBlock& block, pare::MatrixView<const S> input,
                             Index length, Visible visible, BlockState<S>& state,
                             const pare::Execution& execution) {
  const Index tokens = input.rows();
  const bool has_norms = block.query_norm.weight || block.key_norm.weight;
  const auto q = shaped(state.queries, tokens, config_->q_size());
  const auto k = shaped(state.keys, tokens, config_->kv_size());
  const auto v = shaped(state.values, tokens, config_->kv_size());
  const auto plain_q = has_norms ? shaped(state.plain_queries, tokens, q.cols()) : q;
  const auto plain_k = has_norms ? shaped(state.plain_keys, tokens, k.cols()) : k;
  Views outputs{};
  outputs[at_role(Role::query)] = plain_q;
  outputs[at_role(Role::key)] = plain_k;
  outputs[at_role(Role::value)] = v;
  project(block, input, outputs, execution);
  if (has_norms) {
    norm_forward<S>(view(block.query_norm, query_norm_width(q.cols())), plain_q, q, execution);
    norm_forward<S>(view(block.key_norm, query_norm_width(k.cols())), plain_k, k, execution);
  }
  if (block.description.rope)
    for (const auto& x : {q, k})
      rope(*block.description.rope, length).turn(x, config_->head_dim, false, execution);
  const auto p = shaped(state.probabilities, tokens * config_->heads, length);
  const auto mixed = shaped(state.mixed, tokens, config_->q_size());
  attention<S>(attention_of(block, length, visible), q, k, v, p, mixed, execution);
  Views last{};
  last[at_role(Role::attention_output)] =
      shaped(state.attention_output, tokens, config_->hidden_size);
  project(block, mixed, last, execution);
}

template <Scalar S>
void BlockTrainer<S>::attend_back(const TrainedBlock& block, pare::MatrixView<const S> input,
                                  Index length, BlockState<S>& state,
                                  pare::MatrixView<const S> dhalf, pare::MatrixView<S> dinput,
                                  const AttentionGradients<S>* extra,
                                  const pare::Execution& execution) {
  const Index tokens = input.rows();
  const auto dmixed = shaped(dmixed_, tokens, config_->q_size(), true);
  Views last{};
  last[at_role(Role::attention_output)] = {const_cast<S*>(dhalf.data()), dhalf.shape(),
                                           dhalf.strides()};
  project_back(block, state.mixed, last, dmixed, execution);
  const auto dq = shaped(d_.queries, tokens, config_->q_size(), true);
  const auto dk = shaped(d_.keys, tokens, config_->kv_size(), true);
  const auto dv = shaped(d_.values, tokens, config_->kv_size(), true);
  attention_backward<S>(attention_of(block, length), state.queries, state.keys, state.values,
                        state.probabilities, dmixed, dq, dk, dv, execution);
  if (extra) {
    if (!extra->queries.empty()) add<S>(extra->queries, S{1}, dq, execution);
    if (!extra->keys.empty()) add<S>(extra->keys, S{1}, dk, execution);
    if (!extra->values.empty()) add<S>(extra->values, S{1}, dv, execution);
  }
  if (block.description.rope)
    for (const auto& x : {dq, dk})
      rope(*block.description.rope, length).turn(x, config_->head_dim, true, execution);
  Views gradients{};
  gradients[at_role(Role::query)] = dq;
  gradients[at_role(Role::key)] = dk;
  gradients[at_role(Role::value)] = dv;
  if (block.query_norm.weight || block.key_norm.weight) {
    const auto dplain_q = shaped(dplain_queries_, tokens, dq.cols(), true);
    const auto dplain_k = shaped(dplain_keys_, tokens, dk.cols(), true);
    norm_back(block.query_norm, query_norm_width(dq.cols()), state.plain_queries, dq, dplain_q,
              execution);
    norm_back(block.key_norm, query_norm_width(dk.cols()), state.plain_keys, dk, dplain_k,
              execution);
    gradients[at_role(Role::query)] = dplain_q;
    gradients[at_role(Role::key)] = dplain_k;
  }
  project_back(block, input, gradients, dinput, execution);
}

template <Scalar S>
void BlockTrainer<S>::feed(const TrainedBlock& block, pare::MatrixView<const S> input,
                           BlockState<S>& state, const pare::Execution& execution) {
  const Index tokens = input.rows(), width = rows_of(block, Role::up);
  Views outputs{};
  if (block.description.is_gated())
    outputs[at_role(Role::gate)] = shaped(state.gate, tokens, width);
  outputs[at_role(Role::up)] = shaped(state.up, tokens, width);
  project(block, input, outputs, execution);
  const auto hidden = shaped(state.hidden, tokens, width);
  feed_forward<S>(config_->activation, state.gate, state.up, hidden, execution);
  Views last{};
  last[at_role(Role::down)] = shaped(state.feed_forward_output, tokens, config_->hidden_size);
  project(block, hidden, last, execution);
}

template <Scalar S>
void BlockTrainer<S>::feed_back(const TrainedBlock& block, pare::MatrixView<const S> input,
                                BlockState<S>& state, pare::MatrixView<const S> dhalf,
                                pare::MatrixView<S> dinput, const pare::Execution& execution) {
  const Index tokens = input.rows(), width = rows_of(block, Role::up);
  const auto dhidden = shaped(dhidden_, tokens, width, true);
  Views last{};
  last[at_role(Role::down)] = {const_cast<S*>(dhalf.data()), dhalf.shape(), dhalf.strides()};
  project_back(block, state.hidden, last, dhidden, execution);
  Views gradients{};
  if (block.description.is_gated()) gradients[at_role(Role::gate)] = shaped(dgate_, tokens, width);
  gradients[at_role(Role::up)] = dhidden;
  feed_forward_backward<S>(config_->activation, state.gate, state.up, dhidden,
                           gradients[at_role(Role::gate)], dhidden, execution);
  project_back(block, input, gradients, dinput, execution);
}

template <Scalar S>
void BlockTrainer<S>::forward(const TrainedBlock& block, pare::MatrixView<const S> x, Index length,
                              BlockState<S>& state, pare::MatrixView<S> y,
                              const pare::Execution& execution, Visible visible) {
  const auto norm = [&](NormPlace place) -> const NormParameters& { return block.norm(place); };
  const auto input = normed(norm(NormPlace::attention_input), x, state.attention_input, execution);
  attend(block, input, length, visible, state, execution);
  if (config_->parallel) {
    const bool has_own = norm(NormPlace::feed_forward_input).weight.has_value();
    feed(block,
         has_own
             ? normed(norm(NormPlace::feed_forward_input), x, state.feed_forward_input, execution)
             : input,
         state, execution);
    pare::copy(x, y);
    add_half(norm(NormPlace::attention_output), state.attention_output, y, execution);
    add_half(norm(NormPlace::feed_forward_output), state.feed_forward_output, y, execution);
    return;
  }
  // A sum that is normed is kept as it was before.
  const auto sum = [&](NormPlace place, pare::Matrix<S>& before, pare::MatrixView<S> out,
                       pare::MatrixView<const S> in, NormPlace half_place,
                       pare::MatrixView<const S> half) {
    const bool is_normed = norm(place).weight.has_value();
    const auto plain = is_normed ? shaped(before, x.rows(), x.cols()) : out;
    pare::copy(in, plain);
    add_half(norm(half_place), half, plain, execution);
    if (is_normed) norm_forward<S>(view(norm(place), x.cols()), plain, out, execution);
  };
  const auto middle = shaped(state.middle, x.rows(), x.cols());
  sum(NormPlace::attention_sum, state.attention_sum, middle, x, NormPlace::attention_output,
      state.attention_output);
  feed(block,
       normed(norm(NormPlace::feed_forward_input), middle, state.feed_forward_input, execution),
       state, execution);
  sum(NormPlace::feed_forward_sum, state.feed_forward_sum, y, middle,
      NormPlace::feed_forward_output, state.feed_forward_output);
}

template <Scalar S>
void BlockTrainer<S>::backward(const TrainedBlock& block, pare::MatrixView<const S> x, Index length,
                               BlockState<S>& state, pare::MatrixView<const S> dy,
                               pare::MatrixView<S> dx, const AttentionGradients<S>* extra,
                               const pare::Execution& execution) {
  const auto norm = [&](NormPlace place) -> const NormParameters& { return block.norm(place); };
  const Index rows = x.rows(), cols = x.cols();
  // What a norm's output is the input of: its gradient goes on to what entered the norm.
  const auto input_back = [&](NormPlace place, pare::MatrixView<const S> in,
                              pare::MatrixView<S> din, auto half) {
    if (!norm(place).weight) return half(in, din);
    const auto dnormed = shaped(dnormed_, rows, cols, true);
    half(place == NormPlace::attention_input ? state.attention_input.view()
                                             : state.feed_forward_input.view(),
         dnormed);
    norm_back(norm(place), cols, in, dnormed, din, execution);
  };
  const auto attention_back = [&](pare::MatrixView<const S> dsum, pare::MatrixView<const S> in,
                                  pare::MatrixView<S> din) {
    const auto dhalf = half_back(norm(NormPlace::attention_output), state.attention_output, dsum,
                                 dhalf_, execution);
    input_back(NormPlace::attention_input, in, din, [&](auto input, auto dinput) {
      attend_back(block, input, length, state, dhalf, dinput, extra, execution);
    });
  };
  const auto feed_forward_back = [&](pare::MatrixView<const S> dsum, pare::MatrixView<const S> in,
                                     pare::MatrixView<S> din) {
    const auto dhalf = half_back(norm(NormPlace::feed_forward_output), state.feed_forward_output,
                                 dsum, dhalf_, execution);
    input_back(NormPlace::feed_forward_input, in, din, [&](auto input, auto dinput) {
      feed_back(block, input, state, dhalf, dinput, execution);
    });
  };
  if (config_->parallel) {
    add<S>(dy, S{1}, dx, execution);
    if (norm(NormPlace::feed_forward_input).weight || !norm(NormPlace::attention_input).weight) {
      feed_forward_back(dy, x, dx);
      attention_back(dy, x, dx);
      return;
    }
    // Both halves read what one norm makes.
    const auto dnormed = shaped(dmiddle_, rows, cols, true);
    feed_back(block, state.attention_input, state,
              half_back(norm(NormPlace::feed_forward_output), state.feed_forward_output, dy, dhalf_,
                        execution),
              dnormed, execution);
    attend_back(
        block, state.attention_input, length, state,
        half_back(norm(NormPlace::attention_output), state.attention_output, dy, dhalf_, execution),
        dnormed, extra, execution);
    norm_back(norm(NormPlace::attention_input), cols, x, dnormed, dx, execution);
    return;
  }
  // The gradient of a sum before its norm.
  const auto sum_back = [&](NormPlace place, const pare::Matrix<S>& before,
                            pare::MatrixView<const S> dout) -> pare::MatrixView<const S> {
    if (!norm(place).weight) return dout;
    const auto dsum = shaped(dsum_, rows, cols, true);
    norm_back(norm(place), cols, before, dout, dsum, execution);
    return dsum;
  };
  const auto dmiddle = shaped(dmiddle_, rows, cols, true);
  const auto second = sum_back(NormPlace::feed_forward_sum, state.feed_forward_sum, dy);
  add<S>(second, S{1}, dmiddle, execution);
  feed_forward_back(second, state.middle, dmiddle);
  const auto first = sum_back(NormPlace::attention_sum, state.attention_sum, dmiddle);
  add<S>(first, S{1}, dx, execution);
  attention_back(first, x, dx);
}

template class BlockTrainer<float>;
template class BlockTrainer<double>;
template class BlockTrainer<Dual<double>>;

}  // namespace training
