#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "cli/pipeline/calibration_stream.hpp"
#include "pare/calibration/activation_statistics.hpp"

namespace cli {

/// What the float model's activations look like where they enter a block's linear layers.
struct BlockStatistics {
  struct AtSite {
    pare::ActivationStatistics statistics;
    /// Inputs of the first `sample_windows` windows.
    pare::Matrix<float> sample;
  };
  std::map<engine::Site, AtSite> sites;
  Index window_length = 0;            ///< tokens per window of the samples
  std::vector<std::uint8_t> visible;  ///< of the samples' rows; see ModelInputs

  [[nodiscard]] const AtSite& operator[](engine::Site site) const { return sites.at(site); }
};

/// Statistics of the original blocks, one pass over the calibration text for all who ask.
///
/// They are kept while they fit `cache_limit_bytes`; beyond that only the last block's are, and
/// whoever asks for an earlier block starts another pass.
class FloatCalibration {
 public:
  static constexpr Index cache_limit_bytes = Index{256} << 20;
  /// Tokens kept per site for searches that compare outputs, as whole windows.
  static constexpr Index sample_tokens = 4096;

  FloatCalibration(const engine::BlockRunner& runner, const engine::Embedding& embedding,
                   const CalibrationWindows& windows)
      : runner_(runner), embedding_(&embedding), windows_(&windows) {
    sample_windows_ = std::clamp<Index>(sample_tokens / windows.length(), 1, windows.count());
    const auto& c = runner.config();
    Index widths = 0;
    for (const auto& [site, width] : widths_of(c.block(0))) widths += width;
    keeps_all_ = sample_windows_ * windows.length() * 4 * widths <= cache_limit_bytes / c.layers;
  }

  /// Statistics of block `index`, whose float weights are `block`; blocks before it must have been
  /// asked for, or skipped, in order.
  const BlockStatistics& at(Index index, const engine::Block& block) {
    if (const auto found = kept_.find(index); found != kept_.end()) return found->second;
    BlockStatistics statistics;
    statistics.window_length = windows_->length();
    const Index rows = sample_windows_ * windows_->length();
    if (const auto& visible = windows_->inputs.visible; !visible.empty())
      statistics.visible.assign(visible.begin(), visible.begin() + rows);
    for (const auto& [site, width] : widths_of(block.description))
      statistics.sites.emplace(site, BlockStatistics::AtSite{pare::ActivationStatistics(width),
                                                             pare::Matrix<float>({rows, width})});
    std::map<engine::Site, Index> seen;
    const auto capture = [&](engine::Site site, pare::MatrixView<const float> x,
                             std::span<const std::uint8_t> visible) {
      const auto found = statistics.sites.find(site);
      if (found == statistics.sites.end()) return;  // no layer reads it that is ever quantized
      auto& s = found->second;
      Index& first = seen[site];
      if (const Index wanted = std::min(rows - first, x.rows()); wanted > 0)
        pare::copy(x.slice(0, 0, wanted), s.sample.view().slice(0, first, wanted));
      first += x.rows();
      pare::with_context(runner_.config().input_name(index, site), [&] {
        if (visible.empty())
          s.statistics.add(x, runner_.execution());
        else
          s.statistics.add(visible_rows(x, visible), runner_.execution());
      });
    };
    advance(index, block, capture);
    if (!keeps_all_) kept_.clear();
    return kept_.insert_or_assign(index, std::move(statistics)).first->second;
  }

  /// Passes by a block that nobody asks for.
  void skip(Index index, const engine::Block& block) { advance(index, block, {}); }

 private:
  [[nodiscard]] static std::map<engine::Site, Index> widths_of(
      const engine::BlockDescription& block) {
    std::map<engine::Site, Index> widths;
    for (const auto& linear : block.linears) {
      if (linear.expert < 0) widths.emplace(linear.site, linear.shape[1]);
      // Experts find what enters them there.
      else if (linear.site.kind == engine::Site::Kind::feed_forward_input)
        widths.emplace(engine::Site::feed_forward_input, linear.shape[1]);
    }
    return widths;
  }

  void advance(Index index, const engine::Block& block,
               std::optional<CalibrationStream::MaskedCapture> capture) {
    if (index == 0) stream_.emplace(*embedding_, *windows_, runner_.execution());
    if (!stream_ || (index != 0 && index != next_))
      throw pare::Error("calibration blocks were asked for out of order");
    stream_->advance(runner_, block, capture);
    next_ = index + 1;
  }

  engine::BlockRunner runner_;
  const engine::Embedding* embedding_;
  const CalibrationWindows* windows_;
  Index sample_windows_ = 1;
  bool keeps_all_ = false;
  std::optional<CalibrationStream> stream_;
  Index next_ = 0;
  std::map<Index, BlockStatistics> kept_;
};

}  // namespace cli
