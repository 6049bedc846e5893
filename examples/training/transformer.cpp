#include "training/transformer.hpp"

#include <algorithm>
#include <utility>

#include "pare/core/error.hpp"
#include "training/operations/embedding.hpp"

namespace training {

Index classes_of(const engine::Model& model) {
  if (!model.config.encoder) return model.config.vocab_size;
  if (model.heads.empty() || model.heads[0].layers.empty()) return 0;
  return model.heads[0].layers.back().linear.out_features();
}

template <Scalar S>
Transformer<S>::Transformer(const engine::ModelConfig& config)
    : config_(config), trainer_(config_, this->parameters_) {}

template <Scalar S>
NormParameters Transformer<S>::add(const std::string& name, const engine::Norm& norm) {
  NormParameters added;
  if (norm.empty()) return added;
  added.weight = add(name + config_.names.norm_weight, converted<S>(norm.weight), false);
  if (!norm.bias.empty())
    added.bias = add(name + config_.names.norm_bias, converted<S>(norm.bias), false);
  return added;
}

template <Scalar S>
LinearParameters Transformer<S>::add(const std::string& name, const engine::Linear& linear) {
  if (linear.is_packed())
    throw pare::ArgumentError(name + " is quantized; what is trained has to be float");
  LinearParameters added{add(name + ".weight", converted<S>(linear.dense()), true), {}};
  if (!linear.bias().empty()) added.bias = add(name + ".bias", converted<S>(linear.bias()), false);
  return added;
}

template <Scalar S>
void Transformer<S>::add_text_embedding(const engine::Model& model) {
  const engine::TensorNames& names = config_.names;
  const engine::Embedding& embedding = *model.embedding;
  embedding_ = add(names.root + names.embedding + ".weight", converted<S>(embedding.tokens), true);
  embedding_scale_ = embedding.scale;
  if (!embedding.positions.empty())
    positions_ = add(names.root + names.positions, converted<S>(embedding.positions), false);
  if (!config_.encoder) return;
  if (!embedding.types.empty())
    types_ =
        add(names.root + config_.encoder->types + ".weight", converted<S>(embedding.types), false);
  embedding_norm_ = add(names.root + config_.encoder->embedding_norm, embedding.norm);
}

template <Scalar S>
void Transformer<S>::add_blocks(const engine::Model& model) {
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
    for (std::size_t i = 0; i < block.linears.size(); ++i) {
      trained.linears.push_back(add(config_.linear_name(b, i), block.linears[i]));
      this->layers_.push_back(trained.linears.back().weight);
    }
    blocks_.push_back(std::move(trained));
  }
}

template <Scalar S>
void Transformer<S>::add_final_norm(const engine::Model& model) {
  final_norm_ = add(config_.names.root + config_.names.final_norm, model.final_norm);
}

template <Scalar S>
void Transformer<S>::require_rows(const Pass<S>& pass) const {
  const auto rows_of = [&](ParameterIndex table) { return this->parameters_[*table].value.rows(); };
  for (const std::int32_t id : pass.ids)
    if (id < 0 || id >= rows_of(embedding_))
      throw pare::ArgumentError("token " + std::to_string(id) + " is outside the vocabulary of " +
                                std::to_string(rows_of(embedding_)));
  if (types_)
    for (const std::int32_t type : pass.types)
      if (type < 0 || type >= rows_of(types_))
        throw pare::ArgumentError("token type " + std::to_string(type) + " is none of the " +
                                  std::to_string(rows_of(types_)) + " of the model");
  if (positions_)
    for (const std::int32_t position : pass.positions)
      if (position >= rows_of(positions_))
        throw pare::ArgumentError("sequences of " + std::to_string(pass.length) +
                                  " tokens exceed the positions of the model, " +
                                  std::to_string(rows_of(positions_)));
}

template <Scalar S>
void Transformer<S>::embed_text(Pass<S>& pass, const pare::Execution& execution) const {
  const bool has_norm = embedding_norm_.weight.has_value();
  const Index tokens = std::ssize(pass.ids), width = config_.hidden_size;
  pass.hidden.resize(blocks_.size() + 1);
  const auto sum = shaped(has_norm ? pass.embedded : pass.hidden[0], tokens, width, true);
  add_embedding<S>(read(embedding_), pass.ids, S(embedding_scale_), sum, execution);
  if (positions_) add_embedding<S>(read(positions_), pass.positions, S{1}, sum, execution);
  if (types_) add_embedding<S>(read(types_), pass.types, S{1}, sum, execution);
  if (has_norm)
    norm_forward<S>(view(embedding_norm_), sum, shaped(pass.hidden[0], tokens, width), execution);
}

template <Scalar S>
void Transformer<S>::embed_text_back(const Pass<S>& pass, pare::MatrixView<const S> dx,
                                     const pare::Execution& execution) {
  pare::MatrixView<const S> dsum = dx;
  if (embedding_norm_.weight) {
    const auto before = shaped(dembedded_, dx.rows(), dx.cols(), true);
    norm_back(embedding_norm_, pass.embedded, dx, before, execution);
    dsum = before;
  }
  add_embedding_backward<S>(dsum, pass.ids, S(embedding_scale_), gradient(embedding_), execution);
  if (positions_)
    add_embedding_backward<S>(dsum, pass.positions, S{1}, gradient(positions_), execution);
  if (types_) add_embedding_backward<S>(dsum, pass.types, S{1}, gradient(types_), execution);
}

template <Scalar S>
pare::MatrixView<const S> Transformer<S>::run_blocks(Pass<S>& pass, bool again,
                                                     const pare::Execution& execution) {
  const Index tokens = pass.hidden[0].rows(), width = config_.hidden_size;
  pass.blocks.resize(again ? 1 : blocks_.size());
  for (std::size_t b = 0; b < blocks_.size(); ++b)
    trainer_.forward(blocks_[b], pass.hidden[b], pass.length, pass.blocks[again ? 0 : b],
                     shaped(pass.hidden[b + 1], tokens, width), execution, pass.visible);
  if (!final_norm_.weight) return pass.hidden.back();
  const auto normed = shaped(pass.normed, tokens, width);
  norm_forward<S>(view(final_norm_), pass.hidden.back(), normed, execution);
  return normed;
}

template <Scalar S>
pare::MatrixView<S> Transformer<S>::blocks_back(Pass<S>& pass, pare::MatrixView<const S> dlast,
                                                const PassGradients<S>& gradients,
                                                const pare::Execution& execution) {
  const Index tokens = pass.hidden[0].rows(), width = config_.hidden_size;
  const bool again = pass.blocks.size() < blocks_.size();
  const auto add_hidden = [&](std::size_t boundary, pare::MatrixView<S> dx) {
    if (boundary >= gradients.hidden.size() || gradients.hidden[boundary].empty()) return;
    const pare::Matrix<S>& d = gradients.hidden[boundary];
    for (Index i = 0; i < d.size(); ++i) dx.data()[i] += d.data()[i];
  };
  pare::MatrixView<S> dx = shaped(dx_[0], tokens, width, true);
  if (!dlast.empty()) {
    if (final_norm_.weight)
      norm_back(final_norm_, pass.hidden.back(), dlast, dx, execution);
    else
      pare::copy(dlast, dx);
  }
  add_hidden(blocks_.size(), dx);
  for (std::size_t b = blocks_.size(); b-- > 0;) {
    BlockState<S>& state = pass.blocks[again ? 0 : b];
    if (again)
      trainer_.forward(blocks_[b], pass.hidden[b], pass.length, state,
                       shaped(dx_[(b + 1) % 2 == blocks_.size() % 2 ? 1 : 0], tokens, width),
                       execution, pass.visible);
    const auto next = shaped(dx_[dx.data() == dx_[0].data() ? 1 : 0], tokens, width, true);
    const auto extra = gradients.attention.find(b);
    trainer_.backward(blocks_[b], pass.hidden[b], pass.length, state, dx, next,
                      extra == gradients.attention.end() ? nullptr : &extra->second, execution);
    dx = next;
    add_hidden(b, dx);
  }
  return dx;
}

template <Scalar S>
engine::Model Transformer<S>::put_common(const engine::Model& like,
                                         engine::Embedding& embedding) const {
  engine::Model model = like;
  embedding = *like.embedding;
  if (embedding_) put(*embedding_, embedding.tokens);
  if (positions_) put(*positions_, embedding.positions);
  if (types_) put(*types_, embedding.types);
  put(embedding_norm_, embedding.norm);
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    for (std::size_t place = 0; place < engine::norm_places; ++place)
      put(blocks_[b].norms[place], model.blocks[b].norms[place]);
    put(blocks_[b].query_norm, model.blocks[b].query_norm);
    put(blocks_[b].key_norm, model.blocks[b].key_norm);
    for (std::size_t i = 0; i < blocks_[b].linears.size(); ++i)
      put(blocks_[b].linears[i], model.blocks[b].linears[i]);
  }
  put(final_norm_, model.final_norm);
  return model;
}

template class Transformer<float>;
template class Transformer<double>;
template class Transformer<Dual<double>>;

}  // namespace training
