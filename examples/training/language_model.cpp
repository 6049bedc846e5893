#include "training/language_model.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "pare/core/error.hpp"

namespace training {
namespace {

template <Scalar S, std::size_t Rank>
pare::Matrix<S> converted(const pare::Tensor<float, Rank>& from) {
  pare::Matrix<S> to(Rank == 2 ? pare::Shape<2>{from.extent(0), from.extent(Rank - 1)}
                               : pare::Shape<2>{1, from.extent(0)});
  std::transform(from.begin(), from.end(), to.begin(), [](float x) { return S(x); });
  return to;
}

template <Scalar S, std::size_t Rank>
void convert_back(const Parameter<S>& from, pare::Tensor<float, Rank>& to) {
  const pare::MatrixView<const S> values = from.read();
  std::transform(values.data(), values.data() + values.size(), to.begin(),
                 [](S x) { return static_cast<float>(value_of(x)); });
}

}  // namespace

template <Scalar S>
std::size_t LanguageModel<S>::add(std::string name, pare::Matrix<S> value, bool decays) {
  parameters_.emplace_back(std::move(name), std::move(value), decays);
  return parameters_.size() - 1;
}

template <Scalar S>
NormParameters LanguageModel<S>::add(const std::string& name, const engine::Norm& norm) {
  NormParameters added;
  if (norm.empty()) return added;
  added.weight = add(name + config_.names.norm_weight, converted<S>(norm.weight), false);
  if (!norm.bias.empty())
    added.bias = add(name + config_.names.norm_bias, converted<S>(norm.bias), false);
  return added;
}

template <Scalar S>
LinearParameters LanguageModel<S>::add(const std::string& name, const engine::Linear& linear) {
  if (linear.is_packed())
    throw pare::ArgumentError(name + " is quantized; what is trained has to be float");
  LinearParameters added{add(name + ".weight", converted<S>(linear.dense()), true), {}};
  if (!linear.bias().empty()) added.bias = add(name + ".bias", converted<S>(linear.bias()), false);
  return added;
}

template <Scalar S>
LanguageModel<S>::LanguageModel(const engine::Model& model)
    : config_(model.config), trainer_(config_, parameters_) {
  if (config_.encoder)
    throw pare::ArgumentError("a model of the family " + config_.family +
                              " is an encoder; language models can be trained");
  const engine::TensorNames& names = config_.names;
  embedding_ =
      add(names.root + names.embedding + ".weight", converted<S>(model.embedding->tokens), true);
  embedding_scale_ = model.embedding->scale;
  if (!model.embedding->positions.empty())
    positions_ = add(names.root + names.positions, converted<S>(model.embedding->positions), false);
  for (Index b = 0; b < config_.layers; ++b) {
    const engine::Block& block = model.blocks[static_cast<std::size_t>(b)];
    const std::string prefix = config_.block_prefix(b);
    if (block.description.experts)
      throw pare::ArgumentError(prefix + "* is a mixture of experts, which cannot be trained");
    TrainedBlock trained{block.description, {}, {}, {}, {}};
    for (std::size_t place = 0; place < engine::norm_places; ++place)
      trained.norms[place] = add(prefix + block.description.norms[place], block.norms[place]);
    trained.query_norm = add(prefix + block.description.query_norm, block.query_norm);
    trained.key_norm = add(prefix + block.description.key_norm, block.key_norm);
    for (std::size_t i = 0; i < block.linears.size(); ++i)
      trained.linears.push_back(add(config_.linear_name(b, i), block.linears[i]));
    blocks_.push_back(std::move(trained));
  }
  final_norm_ = add(names.root + names.final_norm, model.final_norm);
  if (model.head) head_ = add(names.output, *model.head);
}

template <Scalar S>
std::vector<std::size_t> LanguageModel<S>::layers() const {
  std::vector<std::size_t> found;
  for (const TrainedBlock& block : blocks_)
    for (const LinearParameters& layer : block.linears) found.push_back(layer.weight);
  return found;
}

template <Scalar S>
void LanguageModel<S>::zero_gradients() {
  for (Parameter<S>& parameter : parameters_) parameter.gradient.fill(S{});
}

template <Scalar S>
void LanguageModel<S>::embed(Pass<S>& pass, const pare::Execution& execution) {
  const auto table = parameters_[embedding_].read();
  const auto x = shaped(pass.hidden[0], std::ssize(pass.ids), config_.hidden_size);
  execution.parallel_for(x.rows(), [&](Index t) {
    const S* const row = &table(pass.ids[static_cast<std::size_t>(t)], 0);
    for (Index j = 0; j < x.cols(); ++j) {
      x(t, j) = row[j] * S(embedding_scale_);
      if (positions_) x(t, j) += parameters_[*positions_].read()(t % pass.length, j);
    }
  });
}

template <Scalar S>
void LanguageModel<S>::forward(std::span<const std::int32_t> ids, Index length, Pass<S>& pass,
                               const pare::Execution& execution, bool again) {
  if (ids.empty() || length < 1 || std::ssize(ids) % length != 0)
    throw pare::ArgumentError(std::to_string(ids.size()) + " tokens are no sequences of " +
                              std::to_string(length));
  for (const std::int32_t id : ids)
    if (id < 0 || id >= config_.vocab_size)
      throw pare::ArgumentError("token " + std::to_string(id) + " is outside the vocabulary of " +
                                std::to_string(config_.vocab_size));
  if (positions_ && length > parameters_[*positions_].value.rows())
    throw pare::ArgumentError("sequences of " + std::to_string(length) +
                              " tokens exceed the positions of the model, " +
                              std::to_string(parameters_[*positions_].value.rows()));
  pass.ids.assign(ids.begin(), ids.end());
  pass.length = length;
  pass.hidden.resize(blocks_.size() + 1);
  pass.blocks.resize(again ? 1 : blocks_.size());
  embed(pass, execution);
  const Index tokens = std::ssize(ids);
  for (std::size_t b = 0; b < blocks_.size(); ++b)
    trainer_.forward(blocks_[b], pass.hidden[b], length, pass.blocks[again ? 0 : b],
                     shaped(pass.hidden[b + 1], tokens, config_.hidden_size), execution);
  pare::MatrixView<const S> last = pass.hidden.back();
  if (final_norm_.weight) {
    const auto normed = shaped(pass.normed, tokens, config_.hidden_size);
    norm_forward<S>(
        {config_.norm, config_.hidden_size, parameters_[*final_norm_.weight].read(),
         final_norm_.bias ? parameters_[*final_norm_.bias].read() : pare::MatrixView<const S>()},
        last, normed, execution);
    last = normed;
  }
  const auto w = parameters_[head_ ? head_->weight : embedding_].read();
  const auto bias =
      head_ && head_->bias ? parameters_[*head_->bias].read() : pare::MatrixView<const S>();
  const auto logits = shaped(pass.logits, tokens, w.rows());
  linear<S>(last, w, bias, logits, execution);
  const S scale(config_.logit_scale), cap(config_.logit_cap);
  if (config_.logit_scale == 1.0f && config_.logit_cap == 0.0f) return;
  execution.parallel_for(tokens, [&](Index t) {
    using std::tanh;
    for (Index j = 0; j < logits.cols(); ++j) {
      logits(t, j) *= scale;
      if (config_.logit_cap > 0.0f) logits(t, j) = cap * tanh(logits(t, j) / cap);
    }
  });
}

template <Scalar S>
void LanguageModel<S>::backward(Pass<S>& pass, const PassGradients<S>& gradients,
                                const pare::Execution& execution) {
  const Index tokens = std::ssize(pass.ids), width = config_.hidden_size;
  const bool again = pass.blocks.size() < blocks_.size();
  const auto add_hidden = [&](std::size_t boundary, pare::MatrixView<S> dx) {
    if (boundary >= gradients.hidden.size() || gradients.hidden[boundary].empty()) return;
    const pare::Matrix<S>& d = gradients.hidden[boundary];
    for (Index i = 0; i < d.size(); ++i) dx.data()[i] += d.data()[i];
  };
  pare::MatrixView<S> dx = shaped(dx_[0], tokens, width, true);
  if (!gradients.logits.empty()) {
    const auto& w = parameters_[head_ ? head_->weight : embedding_];
    const auto dlogits = shaped(dlogits_, tokens, w.value.rows());
    pare::copy(gradients.logits.view(), dlogits);
    if (config_.logit_scale != 1.0f || config_.logit_cap != 0.0f)
      execution.parallel_for(tokens, [&](Index t) {
        for (Index j = 0; j < dlogits.cols(); ++j) {
          if (config_.logit_cap > 0.0f) {
            const S ratio = pass.logits(t, j) / S(config_.logit_cap);
            dlogits(t, j) *= S{1} - ratio * ratio;
          }
          dlogits(t, j) *= S(config_.logit_scale);
        }
      });
    const bool has_norm = final_norm_.weight.has_value();
    const auto dlast = has_norm ? shaped(dnormed_, tokens, width, true) : dx;
    linear_backward<S>(
        dlogits, has_norm ? pass.normed : pass.hidden.back(), w.read(),
        parameters_[head_ ? head_->weight : embedding_].gradient,
        head_ && head_->bias ? parameters_[*head_->bias].gradient.view() : pare::MatrixView<S>(),
        dlast, execution);
    if (has_norm)
      norm_backward<S>(
          {config_.norm, width, parameters_[*final_norm_.weight].read(), {}}, pass.hidden.back(),
          dlast, parameters_[*final_norm_.weight].gradient,
          final_norm_.bias ? parameters_[*final_norm_.bias].gradient.view() : pare::MatrixView<S>(),
          dx, execution);
  }
  add_hidden(blocks_.size(), dx);
  for (std::size_t b = blocks_.size(); b-- > 0;) {
    BlockState<S>& state = pass.blocks[again ? 0 : b];
    if (again)
      trainer_.forward(blocks_[b], pass.hidden[b], pass.length, state,
                       shaped(dx_[(b + 1) % 2 == blocks_.size() % 2 ? 1 : 0], tokens, width),
                       execution);
    const auto next = shaped(dx_[dx.data() == dx_[0].data() ? 1 : 0], tokens, width, true);
    const auto extra = gradients.attention.find(b);
    trainer_.backward(blocks_[b], pass.hidden[b], pass.length, state, dx, next,
                      extra == gradients.attention.end() ? nullptr : &extra->second, execution);
    dx = next;
    add_hidden(b, dx);
  }
  // Tokens share rows of the table: columns are cut, not tokens.
  const auto dtable = parameters_[embedding_].gradient.view();
  execution.parallel_for(pare::ceil_div(width, columns_of_a_task), [&](Index task) {
    const Index begin = task * columns_of_a_task;
    const Index end = std::min(width, begin + columns_of_a_task);
    for (Index t = 0; t < tokens; ++t)
      for (Index j = begin; j < end; ++j) {
        dtable(pass.ids[static_cast<std::size_t>(t)], j) += dx(t, j) * S(embedding_scale_);
        if (positions_) parameters_[*positions_].gradient(t % pass.length, j) += dx(t, j);
      }
  });
}

template <Scalar S>
engine::Model LanguageModel<S>::to_engine(const engine::Model& like) const {
  engine::Model model = like;
  const auto put_norm = [&](const NormParameters& from, engine::Norm& to) {
    if (from.weight) convert_back(parameters_[*from.weight], to.weight);
    if (from.bias) convert_back(parameters_[*from.bias], to.bias);
  };
  const auto put_linear = [&](const LinearParameters& from, engine::Linear& to) {
    convert_back(parameters_[from.weight], to.dense());
    if (from.bias) convert_back(parameters_[*from.bias], to.bias());
  };
  auto embedding = std::make_shared<engine::Embedding>(*like.embedding);
  convert_back(parameters_[embedding_], embedding->tokens);
  if (positions_) convert_back(parameters_[*positions_], embedding->positions);
  model.embedding = std::move(embedding);
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    for (std::size_t place = 0; place < engine::norm_places; ++place)
      put_norm(blocks_[b].norms[place], model.blocks[b].norms[place]);
    put_norm(blocks_[b].query_norm, model.blocks[b].query_norm);
    put_norm(blocks_[b].key_norm, model.blocks[b].key_norm);
    for (std::size_t i = 0; i < blocks_[b].linears.size(); ++i)
      put_linear(blocks_[b].linears[i], model.blocks[b].linears[i]);
  }
  put_norm(final_norm_, model.final_norm);
  if (head_) {
    auto head = std::make_shared<engine::Linear>(*like.head);
    put_linear(*head_, *head);
    model.head = std::move(head);
  }
  return model;
}

template class LanguageModel<float>;
template class LanguageModel<double>;
template class LanguageModel<Dual<double>>;

}  // namespace training
