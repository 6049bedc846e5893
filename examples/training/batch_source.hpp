#pragma once

#include <cstdint>
#include <vector>

#include "engine/model_inputs.hpp"
#include "training/labelled_batches.hpp"
#include "training/text_batches.hpp"

namespace training {

/// What a step learns from: inputs, and a label for each row of logits.
struct TrainingBatch {
  engine::ModelInputs inputs;
  std::vector<std::int32_t> labels;
};

/// Batches of a text, whose labels are the next tokens, or of labelled inputs. Refers to either,
/// which must outlive this.
class BatchSource {
 public:
  BatchSource(const TextBatches& text) : text_(&text) {}
  BatchSource(const LabelledBatches& labelled) : labelled_(&labelled) {}

  /// Labels of a batch.
  [[nodiscard]] Index rows() const noexcept { return text_ ? text_->tokens() : labelled_->size(); }
  /// True where every token has a label.
  [[nodiscard]] bool is_text() const noexcept { return text_ != nullptr; }

  [[nodiscard]] TrainingBatch at(std::int64_t number) const {
    if (text_) {
      TextBatch batch = text_->at(number);
      return {{.length = text_->length(), .ids = std::move(batch.inputs)}, std::move(batch.labels)};
    }
    LabelledBatch batch = labelled_->at(number);
    TrainingBatch same{std::move(batch.inputs), {}};
    for (const Index label : batch.labels) same.labels.push_back(static_cast<std::int32_t>(label));
    return same;
  }

 private:
  const TextBatches* text_ = nullptr;
  const LabelledBatches* labelled_ = nullptr;
};

}  // namespace training
