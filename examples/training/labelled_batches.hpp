#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/model_inputs.hpp"
#include "pare/core/error.hpp"
#include "pare/core/random.hpp"

namespace training {

using pare::Index;

/// Images or sequences of tokens, and what they are.
struct LabelledBatch {
  engine::ModelInputs inputs;
  std::vector<Index> labels;
};

/// Batches of inputs with labels: all of them in a random order, then in another. A batch is a
/// function of the seed and of its number alone, and may hold the end of one order and the
/// beginning of the next.
class LabelledBatches {
 public:
  /// `inputs` and `labels` must outlive this.
  ///
  /// Errors    pare::ArgumentError for no inputs, another number of labels, a label outside
  ///           [0, classes), and an empty batch
  LabelledBatches(const engine::ModelInputs& inputs, std::span<const std::int64_t> labels,
                  Index classes, Index batch, std::uint64_t seed)
      : inputs_(inputs), labels_(labels), batch_(batch), seed_(seed) {
    if (labels.empty()) throw pare::ArgumentError("there are no labelled inputs to train on");
    if (inputs.count() != std::ssize(labels))
      throw pare::ArgumentError("there are " + std::to_string(labels.size()) + " labels for " +
                                std::to_string(inputs.count()) + " inputs");
    for (std::size_t i = 0; i < labels.size(); ++i)
      if (labels[i] < 0 || labels[i] >= classes)
        throw pare::ArgumentError("label " + std::to_string(i) + " is " +
                                  std::to_string(labels[i]) + ", the model knows " +
                                  std::to_string(classes) + " classes");
    if (batch < 1) throw pare::ArgumentError("a batch of " + std::to_string(batch) + " inputs");
  }

  [[nodiscard]] Index size() const noexcept { return batch_; }

  /// Throws pare::ArgumentError for a negative number.
  [[nodiscard]] LabelledBatch at(std::int64_t number) const {
    if (number < 0) throw pare::ArgumentError("batch " + std::to_string(number));
    const auto all = std::ssize(labels_);
    LabelledBatch batch{{.length = inputs_.length}, {}};
    if (!inputs_.pixels.empty())
      batch.inputs.pixels = pare::Matrix<float>({batch_, inputs_.pixels.cols()});
    std::vector<Index> order;
    std::int64_t epoch_of_order = -1;
    for (Index i = 0; i < batch_; ++i) {
      const std::int64_t place = number * batch_ + i;
      if (place / all != epoch_of_order) order = order_of(epoch_of_order = place / all);
      add(batch, i, order[static_cast<std::size_t>(place % all)]);
    }
    return batch;
  }

 private:
  /// All inputs, shuffled.
  [[nodiscard]] std::vector<Index> order_of(std::int64_t epoch) const {
    std::vector<Index> order(labels_.size());
    std::iota(order.begin(), order.end(), Index{0});
    // Seeds that follow each other must not share orders.
    pare::Random random(pare::Random(seed_)() + static_cast<std::uint64_t>(epoch));
    for (std::size_t i = order.size(); i > 1; --i)
      std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
    return order;
  }

  void add(LabelledBatch& batch, Index row, Index input) const {
    const auto add_part = [&](const auto& from, auto& to) {
      if (!from.empty())
        to.insert(to.end(), from.begin() + input * inputs_.length,
                  from.begin() + (input + 1) * inputs_.length);
    };
    add_part(inputs_.ids, batch.inputs.ids);
    add_part(inputs_.types, batch.inputs.types);
    add_part(inputs_.visible, batch.inputs.visible);
    if (!inputs_.pixels.empty()) {
      const auto from = inputs_.pixels.view().row(input);
      for (Index j = 0; j < from.size(); ++j) batch.inputs.pixels(row, j) = from[j];
    }
    batch.labels.push_back(static_cast<Index>(labels_[static_cast<std::size_t>(input)]));
  }

  const engine::ModelInputs& inputs_;
  std::span<const std::int64_t> labels_;
  Index batch_;
  std::uint64_t seed_;
};

}  // namespace training
