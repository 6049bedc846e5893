#include "engine/encoder.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/activation.hpp"
#include "engine/elementwise.hpp"

namespace engine {
namespace {

/// Row `token` of each sequence.
pare::Matrix<float> rows_of_token(const pare::Matrix<float>& states, Index length, Index token) {
  pare::Matrix<float> rows({states.rows() / length, states.cols()});
  for (Index n = 0; n < rows.rows(); ++n)
    pare::copy(states.view().row(n * length + token), rows.row(n));
  return rows;
}

/// The mean over the tokens of each sequence that are seen.
pare::Matrix<float> mean_of_tokens(const pare::Matrix<float>& states, const ModelInputs& inputs) {
  pare::Matrix<float> mean({inputs.count(), states.cols()});
  for (Index n = 0; n < mean.rows(); ++n) {
    std::vector<double> sum(static_cast<std::size_t>(mean.cols()));
    double count = 0.0;
    for (Index t = n * inputs.length; t < (n + 1) * inputs.length; ++t) {
      if (!inputs.visible.empty() && !inputs.visible[static_cast<std::size_t>(t)]) continue;
      count += 1.0;
      for (Index i = 0; i < mean.cols(); ++i)
        sum[static_cast<std::size_t>(i)] += static_cast<double>(states(t, i));
    }
    for (Index i = 0; i < mean.cols(); ++i)
      mean(n, i) = static_cast<float>(sum[static_cast<std::size_t>(i)] / std::max(count, 1e-9));
  }
  return mean;
}

pare::Matrix<float> normalized(const pare::Matrix<float>& rows) {
  pare::Matrix<float> result = rows;
  for (Index n = 0; n < rows.rows(); ++n) {
    double squares = 0.0;
    for (Index i = 0; i < rows.cols(); ++i)
      squares += static_cast<double>(rows(n, i)) * static_cast<double>(rows(n, i));
    const auto inverse = static_cast<float>(1.0 / std::max(std::sqrt(squares), 1e-12));
    for (Index i = 0; i < rows.cols(); ++i) result(n, i) *= inverse;
  }
  return result;
}

}  // namespace

pare::Matrix<float> EncoderOutputs::embedding(Index length) const {
  if (!sentence.empty()) return sentence;
  if (!pooled.empty()) return pooled;
  return rows_of_token(last, length, 0);
}

pare::Matrix<float> Encoder::logits_of(std::size_t head, const EncoderOutputs& outputs,
                                       Index length) const {
  const auto& [description, layers, embedding_bias] = model_->heads[head];
  const pare::Execution& execution = runner_.execution();
  pare::Matrix<float> x = description.pooled ? outputs.pooled
                          : description.every_token
                              ? outputs.last
                              : rows_of_token(outputs.last, length, description.token);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    x = layers[i].linear.forward(x, execution);
    if (const auto& activation = description.layers[i].activation)
      apply_activation(*activation, x.data(), x.size());
    if (!layers[i].norm.empty()) apply_norm(model_->config.norm, layers[i].norm, x, x, execution);
  }
  if (embedding_bias.empty()) return x;
  const pare::Matrix<float>& embedding = model_->embedding->tokens;
  pare::Matrix<float> logits({x.rows(), embedding.rows()});
  for (Index t = 0; t < x.rows(); ++t)
    std::copy_n(embedding_bias.data(), logits.cols(), &logits(t, 0));
  multiply_dense(x, embedding, logits, execution);
  return logits;
}

EncoderOutputs Encoder::run(const ModelInputs& inputs, std::optional<HiddenStates> hidden) const {
  pare::Matrix<float> x = model_->embedding->rows(inputs, runner_.execution());
  if (hidden) (*hidden)(x);
  for (const Block& block : model_->blocks) {
    runner_.prefill(block, x, inputs.length, {}, inputs.visible);
    if (hidden) (*hidden)(x);
  }
  return finish(std::move(x), inputs);
}

EncoderOutputs Encoder::finish(pare::Matrix<float> hidden, const ModelInputs& inputs) const {
  const pare::Execution& execution = runner_.execution();
  EncoderOutputs outputs;
  if (!model_->final_norm.empty())
    apply_norm(model_->config.norm, model_->final_norm, hidden, hidden, execution);
  outputs.last = std::move(hidden);
  if (model_->pooler) {
    outputs.pooled =
        model_->pooler->forward(rows_of_token(outputs.last, inputs.length, 0), execution);
    apply_activation(Activation::tanh, outputs.pooled.data(), outputs.pooled.size());
  }
  for (std::size_t head = 0; head < model_->heads.size(); ++head) {
    pare::Matrix<float> logits = logits_of(head, outputs, inputs.length);
    if (head == 0) {
      outputs.logits["logits"] = logits;
    } else {
      add(logits.data(), outputs.logits["logits"].data(), logits.size());
    }
    if (model_->heads.size() > 1)
      outputs.logits[model_->heads[head].description.output] = std::move(logits);
  }
  if (model_->heads.size() > 1)
    for (float& value : outputs.logits["logits"]) value /= static_cast<float>(model_->heads.size());
  if (model_->pools_by_mean) {
    outputs.sentence = mean_of_tokens(outputs.last, inputs);
    if (model_->normalizes_sentences) outputs.normalized_sentence = normalized(outputs.sentence);
  }
  return outputs;
}

}  // namespace engine
