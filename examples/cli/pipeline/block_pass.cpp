#include "cli/pipeline/block_pass.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace cli {

BlockPass::BlockPass(const Steps& steps, const engine::BlockRunner& runner,
                     const CalibrationWindows* windows, const engine::Embedding& embedding,
                     FloatCalibration* float_calibration)
    : steps_(steps), runner_(runner), float_calibration_(float_calibration) {
  for (const auto& step : steps) needs_ |= step->needs();
  if (needs_.stream()) stream_.emplace(embedding, *windows, runner.execution());
}

BlockInWork BlockPass::prepare(Index index, engine::Block block, const Listener& listener) {
  BlockInWork work;
  work.index = index;
  work.block = std::move(block);
  work.layers = layers_of_block(runner_.config(), index);
  const BlockStatistics* statistics =
      needs_.float_statistics ? &float_calibration_->at(index, work.block) : nullptr;
  for (const auto& step : steps_)
    step->prepare(work, step->needs().float_statistics ? statistics : nullptr, listener);
  return work;
}

bool BlockPass::wants(const BlockInWork& work, engine::Site site) const {
  return std::any_of(work.layers.begin(), work.layers.end(), [&](const Layer& layer) {
    return layer.site == site && std::any_of(steps_.begin(), steps_.end(), [&](const auto& step) {
             return step->wants(layer.name);
           });
  });
}

Observations BlockPass::observe(const BlockInWork& work) const {
  Observations observations;
  if (!stream_) return observations;
  std::set<engine::Site> wanted;
  for (const Layer& layer : work.layers) {
    if (!wants(work, layer.site) || !wanted.insert(layer.site).second || !needs_.hessians) continue;
    observations.add(layer.site, work.block.linears[layer.index].in_features());
  }
  if (wanted.empty()) return observations;
  const auto capture = [&](engine::Site site, pare::MatrixView<const float> x) {
    if (!wanted.contains(site)) return;
    pare::with_context(runner_.config().input_name(work.index, site), [&] {
      if (needs_.hessians) observations.hessian(site).add(x, runner_.execution());
      for (const auto& step : steps_)
        if (step->needs().inputs) step->observe(work, site, x);
    });
  };
  stream_->observe(runner_, work.block, capture);
  return observations;
}

BlockInWork BlockPass::run(Index index, engine::Block block, const Listener& listener) {
  BlockInWork work = prepare(index, std::move(block), listener);
  listener("calibration", needs_.float_statistics ? 0.4 : 0.0);
  const Observations observations = observe(work);
  if (stream_ && !needs_.sequential) stream_->advance(runner_, work.block);
  for (const auto& step : steps_) step->compress(work, observations, listener);
  for (const Layer& layer : work.layers)
    if (const auto found = work.quantized.find(layer.name); found != work.quantized.end())
      work.block.linears[layer.index].replace(found->second.weight, found->second.activations);
  if (stream_ && needs_.sequential) stream_->advance(runner_, work.block);
  return work;
}

void BlockPass::skip(Index index, const std::function<engine::Block()>& original,
                     const std::function<engine::Block()>& finished) {
  if (stream_ && !needs_.sequential) {
    const auto silent = [](const std::string&, double) {};
    stream_->advance(runner_, prepare(index, original(), silent).block);
    return;
  }
  if (needs_.float_statistics) float_calibration_->skip(index, original());
  if (stream_) stream_->advance(runner_, finished());
}

}  // namespace cli
