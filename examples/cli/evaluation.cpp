#include "cli/evaluation.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "cli/divergence.hpp"
#include "cli/progress.hpp"
#include "pare/core/error.hpp"

namespace cli {
namespace {

using pare::MatrixView;

struct RowResult {
  double nats = 0.0, kl = 0.0, agrees = 0.0;
};

RowResult compare_row(const float* logits, const float* reference, Index vocab, Index target) {
  RowResult row;
  const double norm = log_sum_exp(logits, vocab);
  row.nats = norm - static_cast<double>(logits[target]);
  if (!reference) return row;
  row.kl = kl_divergence(reference, logits, vocab);
  row.agrees = std::max_element(logits, logits + vocab) - logits ==
               std::max_element(reference, reference + vocab) - reference;
  return row;
}

WindowLogits logits_of(const engine::Model& model, const EvaluationWindows& windows,
                       const pare::Execution& execution) {
  return [decoder = engine::Decoder(model, execution), windows](Index first, Index count) {
    return decoder.logits(windows.inputs(first, count), windows.length());
  };
}

/// Windows run at once: enough tokens to fill the kernels, few enough to bound the logits.
Index batch_windows(const EvaluationWindows& windows, Index vocab) {
  const Index by_tokens = std::max<Index>(1, 2048 / windows.length());
  const Index by_bytes = std::max<Index>(1, (Index{64} << 20) / (windows.length() * vocab * 4));
  return std::min({by_tokens, by_bytes, windows.count()});
}

}  // namespace

double Quality::perplexity() const { return std::exp(nats_per_token); }

std::optional<double> Quality::bits_per_byte(const Tokens& tokens) const {
  if (tokens.text_bytes == 0) return {};
  return nats_per_token / std::numbers::ln2 / tokens.bytes_per_token();
}

EvaluationWindows::EvaluationWindows(const Tokens& tokens, Index length, Index limit)
    : ids_(tokens.ids), length_(length) {
  const Index available = static_cast<Index>(ids_.size()) - 1;
  if (available < 1)
    throw pare::ArgumentError("the text has " + std::to_string(ids_.size()) +
                              " tokens; at least 2 are needed to predict one");
  length_ = std::min(length_, available);
  count_ = available / length_;
  if (limit > 0) count_ = std::min(count_, limit);
}

std::span<const std::int32_t> EvaluationWindows::inputs(Index first, Index count) const {
  return ids_.subspan(static_cast<std::size_t>(first * length_),
                      static_cast<std::size_t>(count * length_));
}

std::span<const std::int32_t> EvaluationWindows::targets(Index first, Index count) const {
  return ids_.subspan(static_cast<std::size_t>(first * length_ + 1),
                      static_cast<std::size_t>(count * length_));
}

Evaluator::Evaluator(EvaluationWindows windows, const engine::Model* reference,
                     pare::Execution execution)
    : Evaluator(windows, reference ? logits_of(*reference, windows, execution) : WindowLogits(),
                reference ? reference->config.vocab_size : 0, execution) {
  model_ = reference;
}

Evaluator::Evaluator(EvaluationWindows windows, WindowLogits reference, Index vocab,
                     pare::Execution execution)
    : windows_(windows), reference_(std::move(reference)), execution_(execution) {
  if (reference_ && windows_.predictions() <= cache_limit_bytes / (4 * vocab))
    cache_ = pare::Matrix<float>({windows_.predictions(), vocab});
}

MatrixView<const float> Evaluator::reference_logits(Index first, Index count) {
  const Index rows = count * windows_.length();
  if (cache_.empty() || cached_windows_ < first + count) {
    scratch_ = reference_(first, count);
    if (cache_.empty()) return scratch_;
    pare::copy(scratch_.view(), cache_.view().slice(0, first * windows_.length(), rows));
    cached_windows_ = first + count;
  }
  return MatrixView<const float>(cache_).slice(0, first * windows_.length(), rows);
}

Quality Evaluator::measure(const engine::Model& model) {
  Progress progress("evaluating", windows_.count(), 0, "window");
  const auto listener = [&](double fraction) {
    progress.pass(static_cast<Index>(fraction * static_cast<double>(windows_.count()) + 0.5));
  };
  const WindowLogits own = logits_of(model, windows_, execution_);
  return measure(&model == model_ ? WindowLogits() : own, model.config.vocab_size, listener);
}

/// Without logits the reference is measured against itself.
Quality Evaluator::measure(const WindowLogits& logits_of_windows, Index vocab,
                           const std::function<void(double)>& listener) {
  Quality quality;
  RowResult total;
  const Index batch = batch_windows(windows_, vocab);
  for (Index first = 0; first < windows_.count(); first += batch) {
    listener(static_cast<double>(first) / static_cast<double>(windows_.count()));
    const Index count = std::min(batch, windows_.count() - first);
    MatrixView<const float> reference;
    if (reference_) reference = reference_logits(first, count);
    pare::Matrix<float> own;
    if (logits_of_windows) own = logits_of_windows(first, count);
    const MatrixView<const float> logits = logits_of_windows ? own.view() : reference;
    const auto targets = windows_.targets(first, count);
    std::vector<RowResult> rows(targets.size());
    execution_.parallel_for(logits.rows(), [&](Index t) {
      const auto i = static_cast<std::size_t>(t);
      rows[i] =
          compare_row(&logits(t, 0), reference_ ? &reference(t, 0) : nullptr, vocab, targets[i]);
    });
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const RowResult& row = rows[i];
      if (!std::isfinite(row.nats) || !std::isfinite(row.kl))
        throw pare::NumericError(
            "the prediction of token " +
            std::to_string(first * windows_.length() + static_cast<Index>(i) + 1) +
            " of the text is not a finite number");
      total.nats += row.nats;
      total.kl += row.kl;
      total.agrees += row.agrees;
    }
  }
  quality.predictions = windows_.predictions();
  const double n = static_cast<double>(quality.predictions);
  quality.nats_per_token = total.nats / n;
  if (reference_) {
    quality.kl = total.kl / n;
    quality.top1 = total.agrees / n;
  }
  return quality;
}

}  // namespace cli
