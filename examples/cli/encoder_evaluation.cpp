#include "cli/encoder_evaluation.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cli/divergence.hpp"
#include "pare/core/error.hpp"

namespace cli {
namespace {

/// Tokens run at once.
constexpr Index batch_tokens = 4096;

double cosine_of(const float* a, const float* b, Index count) {
  double product = 0.0, squares_a = 0.0, squares_b = 0.0;
  for (Index i = 0; i < count; ++i) {
    const double x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    product += x * y;
    squares_a += x * x;
    squares_b += y * y;
  }
  return product / std::max(std::sqrt(squares_a * squares_b), 1e-30);
}

}  // namespace

EncoderEvaluator::EncoderEvaluator(const LabelledInputs& inputs, const engine::Model* reference,
                                   pare::Execution execution)
    : inputs_(inputs), reference_(reference), execution_(execution) {
  if (reference_) reference_answers_ = answers(*reference_);
}

pare::Matrix<float> EncoderEvaluator::answers(const engine::Model& model) const {
  const engine::Encoder encoder(model, execution_);
  return answers(
      [&](Index first, Index count) { return encoder.run(inputs_.inputs.slice(first, count)); },
      [](double) {});
}

pare::Matrix<float> EncoderEvaluator::answers(const EncoderRun& run,
                                              const std::function<void(double)>& listener) const {
  const engine::ModelInputs& inputs = inputs_.inputs;
  const Index batch = std::max<Index>(1, batch_tokens / inputs.length);
  std::vector<pare::Matrix<float>> parts;
  Index rows = 0;
  for (Index first = 0; first < inputs.count(); first += batch) {
    listener(static_cast<double>(first) / static_cast<double>(inputs.count()));
    const Index count = std::min(batch, inputs.count() - first);
    const engine::EncoderOutputs outputs = run(first, count);
    const auto logits = outputs.logits.find("logits");
    parts.push_back(logits != outputs.logits.end() ? logits->second
                                                   : outputs.embedding(inputs.length));
    rows += parts.back().rows();
  }
  pare::Matrix<float> all({rows, parts.front().cols()});
  Index next = 0;
  for (const auto& part : parts) {
    pare::copy(part.view(), all.view().slice(0, next, part.rows()));
    next += part.rows();
  }
  for (const float value : all)
    if (!std::isfinite(value))
      throw pare::NumericError("the model's answers are not finite numbers");
  return all;
}

EncoderQuality EncoderEvaluator::measure(const engine::Model& model) {
  return judge(&model == reference_ ? reference_answers_ : answers(model), model);
}

EncoderQuality EncoderEvaluator::measure(const EncoderRun& run, const engine::Model& model,
                                         const std::function<void(double)>& listener) {
  return judge(answers(run, listener), model);
}

EncoderQuality EncoderEvaluator::judge(const pare::Matrix<float>& own,
                                       const engine::Model& model) const {
  const Index rows = own.rows(), classes = own.cols();
  EncoderQuality quality{.inputs = inputs_.inputs.count()};
  const auto largest = [&](const pare::Matrix<float>& x, Index row) {
    return std::max_element(&x(row, 0), &x(row, 0) + classes) - &x(row, 0);
  };
  if (model.heads.empty()) {
    if (!reference_) return quality;
    if (reference_answers_.cols() != classes)
      throw pare::ArgumentError("the models' embeddings differ in size");
    double sum = 0.0;
    for (Index row = 0; row < rows; ++row)
      sum += cosine_of(&own(row, 0), &reference_answers_(row, 0), classes);
    quality.cosine = sum / static_cast<double>(rows);
    return quality;
  }
  if (const auto& labels = inputs_.labels; !labels.empty() && std::ssize(labels) == rows) {
    Index right = 0;
    for (Index row = 0; row < rows; ++row) {
      const std::int64_t label = labels[static_cast<std::size_t>(row)];
      if (label < 0 || label >= classes)
        throw pare::ArgumentError("label " + std::to_string(row) + " is " + std::to_string(label) +
                                  ", the model knows " + std::to_string(classes) + " classes");
      right += largest(own, row) == label;
    }
    quality.accuracy = static_cast<double>(right) / static_cast<double>(rows);
  }
  if (!reference_) return quality;
  if (reference_answers_.cols() != classes)
    throw pare::ArgumentError("the models know different classes");
  double kl = 0.0;
  Index same = 0;
  for (Index row = 0; row < rows; ++row) {
    kl += kl_divergence(&reference_answers_(row, 0), &own(row, 0), classes);
    same += largest(own, row) == largest(reference_answers_, row);
  }
  quality.kl = kl / static_cast<double>(rows);
  quality.top1 = static_cast<double>(same) / static_cast<double>(rows);
  return quality;
}

}  // namespace cli
