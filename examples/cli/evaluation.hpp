#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "cli/tokens.hpp"
#include "engine/model.hpp"

namespace cli {

/// How well a model predicts a text, and how close it stays to another model.
struct Quality {
  double nats_per_token = 0.0;
  /// Mean KL(reference || model) in nats per token, and the share of tokens for which both rank
  /// the same token first; only with a reference.
  std::optional<double> kl{};
  std::optional<double> top1{};
  Index predictions = 0;

  [[nodiscard]] double perplexity() const;
  /// Empty when the tokens were not made from text.
  [[nodiscard]] std::optional<double> bits_per_byte(const Tokens& tokens) const;
};

/// Text cut into windows of `length` tokens that do not overlap: window i reads tokens
/// [i length, (i + 1) length) and predicts the token after each. A shorter text is one window.
class EvaluationWindows {
 public:
  /// The first `limit` windows; 0 is all.
  EvaluationWindows(const Tokens& tokens, Index length, Index limit = 0);

  [[nodiscard]] Index count() const noexcept { return count_; }
  [[nodiscard]] Index length() const noexcept { return length_; }
  [[nodiscard]] Index predictions() const noexcept { return count_ * length_; }
  [[nodiscard]] std::span<const std::int32_t> inputs(Index first, Index count) const;
  [[nodiscard]] std::span<const std::int32_t> targets(Index first, Index count) const;

 private:
  std::span<const std::int32_t> ids_;
  Index length_ = 0, count_ = 0;
};

/// Logits (tokens, vocab) of `count` windows of a text from `first` on, stacked.
using WindowLogits = std::function<pare::Matrix<float>(Index first, Index count)>;

/// Measures models on one text against one float model, whose logits are kept while they fit
/// `cache_limit_bytes`; beyond that the float model runs beside each measured one, window by
/// window.
class Evaluator {
 public:
  static constexpr Index cache_limit_bytes = Index{256} << 20;

  /// Without `reference` only the prediction of the text is measured.
  Evaluator(EvaluationWindows windows, const engine::Model* reference, pare::Execution execution);
  /// Against what `reference` answers, asked again where it does not fit.
  Evaluator(EvaluationWindows windows, WindowLogits reference, Index vocab,
            pare::Execution execution);

  [[nodiscard]] Quality measure(const engine::Model& model);
  /// Of whatever gives logits; `listener` is told the share that is done.
  [[nodiscard]] Quality measure(const WindowLogits& logits, Index vocab,
                                const std::function<void(double fraction)>& listener);

 private:
  [[nodiscard]] pare::MatrixView<const float> reference_logits(Index first, Index count);

  EvaluationWindows windows_;
  const engine::Model* model_ = nullptr;  // the reference, where it is a model
  WindowLogits reference_;                // empty: there is none
  pare::Execution execution_;
  pare::Matrix<float> cache_;  // all reference logits, when they fit
  Index cached_windows_ = 0;
  pare::Matrix<float> scratch_;
};

}  // namespace cli
