#pragma once

#include <algorithm>
#include <map>
#include <span>
#include <vector>

#include "engine/scale_folding.hpp"
#include "labs/layer_inputs.hpp"
#include "pare/calibration/activation_statistics.hpp"
#include "pare/quantization/awq.hpp"
#include "pare/quantization/awq_clip.hpp"
#include "pare/quantization/smoothquant.hpp"

/// Rewrites a block so that it computes what it did, of inputs that are divided and weights that
/// are multiplied: only then are these rounded.
namespace lab {

using pare::Index;

/// Divides what enters the layers at a site.
inline void divide_inputs(const engine::ModelConfig& config, engine::Block& block,
                          engine::Site site, const pare::Vector<float>& scales) {
  engine::fold_scales(config, 0, block, site, scales,
                      [](const std::string&) { return pare::DType::F32; });
}

[[nodiscard]] inline pare::ActivationStatistics statistics_of(const pare::Matrix<float>& x) {
  pare::ActivationStatistics statistics(x.cols());
  statistics.add(x);
  return statistics;
}

/// The weights that read a site.
[[nodiscard]] inline std::vector<pare::MatrixView<const float>> weights_at(
    const engine::Block& block, engine::Site site) {
  std::vector<pare::MatrixView<const float>> weights;
  for (const std::size_t i : engine::readers_of(block.description, site))
    weights.push_back(block.linears[i].dense().view());
  return weights;
}

/// SmoothQuant: what enters a half of a block has its range shared with the weights that read it.
inline void smooth(const engine::ModelConfig& config, engine::Block& block,
                   const LayerInputs& inputs) {
  for (const engine::Site site : {engine::Site::attention_input, engine::Site::feed_forward_input})
    divide_inputs(
        config, block, site,
        pare::smoothquant_scales(statistics_of(inputs.at(site)).absmax(), weights_at(block, site)));
}

/// AWQ's scales for the layers at a site: of some, those with which the half of the block behind it
/// changes least when its weights are rounded.
template <pare::Format F>
[[nodiscard]] pare::Vector<float> search_awq(const engine::BlockRunner& runner,
                                             const engine::Block& block, engine::Site site,
                                             pare::MatrixView<const float> x, Index length,
                                             const pare::Vector<float>& mean_abs,
                                             const pare::AwqOptions& options) {
  const pare::Matrix<float> wanted = runner.output_behind(block, site, x, length);
  const std::vector<std::size_t> readers = engine::readers_of(block.description, site);
  engine::Block trial = block;
  const auto loss = [&](std::span<const pare::Matrix<float>> rounded) {
    for (std::size_t i = 0; i < readers.size(); ++i) trial.linears[readers[i]].dense() = rounded[i];
    const pare::Matrix<float> output = runner.output_behind(trial, site, x, length);
    double sum = 0.0;
    for (Index i = 0; i < output.size(); ++i) {
      const double difference =
          static_cast<double>(output.data()[i]) - static_cast<double>(wanted.data()[i]);
      sum += difference * difference;
    }
    return sum;
  };
  return pare::awq_scales<F>(weights_at(block, site), mean_abs, loss, options, runner.execution())
      .scales;
}

/// AWQ: salient inputs are divided where something can take the scales back, and then all weights
/// clipped but those of queries and keys. `length` is that of the windows in `inputs`, of which the
/// first 2048 tokens are looked at.
template <pare::Format F>
void scale_and_clip(const engine::BlockRunner& runner, engine::Block& block,
                    const LayerInputs& inputs, Index length, const pare::AwqOptions& options) {
  std::map<engine::Site, pare::Matrix<float>> samples;
  std::map<engine::Site, pare::Vector<float>> scales;
  for (const auto& [site, x] : inputs) {
    samples.emplace(site, x.view().slice(0, 0, std::min<Index>(x.rows(), 2048)));
    if (engine::producer_of(runner.config(), block.description, site))
      scales.emplace(site, search_awq<F>(runner, block, site, samples.at(site), length,
                                         statistics_of(x).mean_abs(), options));
  }
  for (const auto& [site, own] : scales) {
    divide_inputs(runner.config(), block, site, own);
    pare::Matrix<float>& x = samples.at(site);
    for (Index t = 0; t < x.rows(); ++t)
      for (Index c = 0; c < x.cols(); ++c) x(t, c) /= own[c];
  }
  for (std::size_t i = 0; i < block.linears.size(); ++i) {
    const engine::LinearDescription& layer = block.description.linears[i];
    if (std::any_of(layer.parts.begin(), layer.parts.end(), [](const engine::LayerPart& part) {
          return part.role == engine::Role::query || part.role == engine::Role::key;
        }))
      continue;
    pare::Matrix<float>& weight = block.linears[i].dense();
    pare::apply_clip(weight,
                     pare::awq_clip<F>(weight, samples.at(layer.site), options, runner.execution()),
                     options.group_size);
  }
}

}  // namespace lab
