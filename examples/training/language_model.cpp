#include "training/language_model.hpp"

#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "pare/core/error.hpp"

namespace training {

template <Scalar S>
LanguageModel<S>::LanguageModel(const engine::Model& model) : Transformer<S>(model.config) {
  if (this->config_.encoder)
    throw pare::ArgumentError("a model of the family " + this->config_.family +
                              " is an encoder; language models can be trained");
  this->add_text_embedding(model);
  this->add_blocks(model);
  this->add_final_norm(model);
  if (model.head) head_ = this->add(this->config_.names.output, *model.head);
}

template <Scalar S>
void LanguageModel<S>::forward(std::span<const std::int32_t> ids, Index length, Pass<S>& pass,
                               const pare::Execution& execution, bool again) {
  if (ids.empty() || length < 1 || std::ssize(ids) % length != 0)
    throw pare::ArgumentError(std::to_string(ids.size()) + " tokens are no sequences of " +
                              std::to_string(length));
  pass.ids.assign(ids.begin(), ids.end());
  pass.length = length;
  pass.positions.resize(ids.size());
  for (std::size_t t = 0; t < ids.size(); ++t)
    pass.positions[t] = static_cast<std::int32_t>(static_cast<Index>(t) % length);
  this->require_rows(pass);
  this->embed_text(pass, execution);
  const pare::MatrixView<const S> last = this->run_blocks(pass, again, execution);
  const auto w = this->read(head_ ? head_->weight : this->embedding_);
  const auto bias = head_ ? this->read(head_->bias) : pare::MatrixView<const S>();
  const Index tokens = std::ssize(ids);
  const auto logits = shaped(pass.logits, tokens, w.rows());
  linear<S>(last, w, bias, logits, execution);
  const S scale(this->config_.logit_scale), cap(this->config_.logit_cap);
  if (this->config_.logit_scale == 1.0f && this->config_.logit_cap == 0.0f) return;
  execution.parallel_for(tokens, [&](Index t) {
    using std::tanh;
    for (Index j = 0; j < logits.cols(); ++j) {
      logits(t, j) *= scale;
      if (this->config_.logit_cap > 0.0f) logits(t, j) = cap * tanh(logits(t, j) / cap);
    }
  });
}

template <Scalar S>
void LanguageModel<S>::backward(Pass<S>& pass, const PassGradients<S>& gradients,
                                const pare::Execution& execution) {
  const Index tokens = std::ssize(pass.ids), width = this->config_.hidden_size;
  const engine::ModelConfig& config = this->config_;
  pare::MatrixView<S> dlast;
  if (!gradients.logits.empty()) {
    const ParameterIndex weight = head_ ? head_->weight : this->embedding_;
    const auto w = this->read(weight);
    const auto dlogits = shaped(dlogits_, tokens, w.rows());
    pare::copy(gradients.logits.view(), dlogits);
    if (config.logit_scale != 1.0f || config.logit_cap != 0.0f)
      execution.parallel_for(tokens, [&](Index t) {
        for (Index j = 0; j < dlogits.cols(); ++j) {
          if (config.logit_cap > 0.0f) {
            const S ratio = pass.logits(t, j) / S(config.logit_cap);
            dlogits(t, j) *= S{1} - ratio * ratio;
          }
          dlogits(t, j) *= S(config.logit_scale);
        }
      });
    dlast = shaped(dlast_, tokens, width, true);
    linear_backward<S>(dlogits, this->final_norm_.weight ? pass.normed : pass.hidden.back(), w,
                       this->gradient(weight),
                       head_ ? this->gradient(head_->bias) : pare::MatrixView<S>(), dlast,
                       execution);
  }
  this->embed_text_back(pass, this->blocks_back(pass, dlast, gradients, execution), execution);
}

template <Scalar S>
engine::Model LanguageModel<S>::to_engine(const engine::Model& like) const {
  auto embedding = std::make_shared<engine::Embedding>();
  engine::Model model = this->put_common(like, *embedding);
  model.embedding = std::move(embedding);
  if (head_) {
    auto head = std::make_shared<engine::Linear>(*like.head);
    this->put(*head_, *head);
    model.head = std::move(head);
  }
  return model;
}

template class LanguageModel<float>;
template class LanguageModel<double>;
template class LanguageModel<Dual<double>>;

}  // namespace training
