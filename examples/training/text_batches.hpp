#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"
#include "pare/core/random.hpp"

namespace training {

using pare::Index;

/// Sequences of a text, one below the other, and the token after each of theirs.
struct TextBatch {
  std::vector<std::int32_t> inputs, labels;
};

/// Random windows of a text. A batch is a function of the seed and of its number alone, so that
/// what is resumed, or accumulated from smaller batches, sees the same ones.
class TextBatches {
 public:
  /// Throws pare::ArgumentError for a text that is no longer than a sequence.
  TextBatches(std::span<const std::int32_t> ids, Index length, Index batch, std::uint64_t seed)
      : ids_(ids), length_(length), batch_(batch), seed_(seed) {
    if (std::ssize(ids) <= length)
      throw pare::ArgumentError("a text of " + std::to_string(ids.size()) +
                                " tokens is too short to train on sequences of " +
                                std::to_string(length));
  }

  [[nodiscard]] Index length() const noexcept { return length_; }
  [[nodiscard]] Index tokens() const noexcept { return length_ * batch_; }

  [[nodiscard]] TextBatch at(std::int64_t number) const {
    // Seeds that are neighbours must not draw the same batches one step later.
    pare::Random random(pare::Random(seed_)() + static_cast<std::uint64_t>(number));
    const auto starts = static_cast<std::uint32_t>(std::ssize(ids_) - length_);
    TextBatch batch;
    for (Index i = 0; i < batch_; ++i) {
      const auto start = static_cast<std::size_t>(random.below(starts));
      const auto count = static_cast<std::size_t>(length_);
      const auto inputs = ids_.subspan(start, count), labels = ids_.subspan(start + 1, count);
      batch.inputs.insert(batch.inputs.end(), inputs.begin(), inputs.end());
      batch.labels.insert(batch.labels.end(), labels.begin(), labels.end());
    }
    return batch;
  }

 private:
  std::span<const std::int32_t> ids_;
  Index length_, batch_;
  std::uint64_t seed_;
};

}  // namespace training
