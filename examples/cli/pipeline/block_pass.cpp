#include "cli/pipeline/block_pass.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

namespace cli {

BlockPass::BlockPass(const Steps& steps, const engine::BlockRunner& runner,
                     const CalibrationWindows* windows, const engine::Embedding& embedding,
                     FloatCalibration* float_calibration, Index least_expert_tokens)
    : steps_(steps),
      runner_(runner),
      float_calibration_(float_calibration),
      least_expert_tokens_(least_expert_tokens) {
  for (const auto& step : steps) needs_ |= step->needs();
  if (needs_.stream()) stream_.emplace(embedding, *windows, runner.execution());
  if (needs_.windows) originals_.emplace(embedding, *windows, runner.execution());
}

BlockInWork BlockPass::prepare(Index index, engine::Block block, const Listener& listener) {
  BlockInWork work;
  work.index = index;
  work.block = std::move(block);
  work.layers = layers_of_block(runner_.config(), index);
  std::erase_if(work.layers, [&](const Layer& layer) {
    return work.block.description.linears[layer.index].expert >= 0;
  });
  statistics_ = needs_.float_statistics ? &float_calibration_->at(index, work.block) : nullptr;
  for (const auto& step : steps_)
    step->prepare(work, step->needs().float_statistics ? statistics_ : nullptr, listener);
  return work;
}

bool BlockPass::wants(const BlockInWork& work, engine::Site site) const {
  return std::any_of(work.layers.begin(), work.layers.end(), [&](const Layer& layer) {
    return layer.site == site && std::any_of(steps_.begin(), steps_.end(), [&](const auto& step) {
             return step->wants(layer.name);
           });
  });
}

/// The sites of layers that a step wants, with room for what is gathered there.
std::set<engine::Site> BlockPass::wanted_sites(const BlockInWork& work,
                                               Observations& observations) const {
  std::set<engine::Site> wanted;
  for (const Layer& layer : work.layers) {
    if (!wants(work, layer.site) || !wanted.insert(layer.site).second || !needs_.hessians) continue;
    observations.add(layer.site, work.block.linears[layer.index].in_features());
  }
  return wanted;
}

void BlockPass::show(const BlockInWork& work, engine::Site site, pare::MatrixView<const float> x,
                     Observations& observations) const {
  pare::with_context(runner_.config().input_name(work.index, site), [&] {
    if (needs_.hessians) observations.hessian(site).add(x, runner_.execution());
    for (const auto& step : steps_)
      if (step->needs().inputs) step->observe(work, site, x);
  });
}

Observations BlockPass::observe(const BlockInWork& work) {
  Observations observations;
  expert_inputs_.clear();
  if (originals_)
    observations.set_windows({stream_->hidden(), originals_->hidden(), stream_->length()});
  if (!needs_.layer_inputs()) return observations;
  const std::set<engine::Site> wanted = wanted_sites(work, observations);
  const bool has_experts = work.block.description.experts.has_value();
  if (wanted.empty() && !has_experts) return observations;
  const auto capture = [&](engine::Site site, pare::MatrixView<const float> x) {
    if (wanted.contains(site)) show(work, site, x, observations);
    if (has_experts && site == engine::Site::feed_forward_input)
      expert_inputs_.insert(expert_inputs_.end(), x.data(), x.data() + x.rows() * x.cols());
  };
  stream_->observe(runner_, work.block, capture);
  return observations;
}

BlockInWork BlockPass::run(Index index, engine::Block block, const Listener& listener,
                           ExpertStore* store) {
  if (originals_) originals_->advance(runner_, block);
  BlockInWork work = prepare(index, std::move(block), listener);
  listener("calibration", needs_.float_statistics ? 0.4 : 0.0);
  const Observations observations = observe(work);
  if (stream_ && !needs_.sequential) stream_->advance(runner_, work.block);
  for (const auto& step : steps_) step->compress(work, observations, listener);
  take_results(work);
  if (store) store->round_as_stored(work);
  if (work.block.description.experts) run_experts(work, listener, store);
  if (stream_ && needs_.sequential) stream_->advance(runner_, work.block);
  return work;
}

/// What was quantized takes the place of what it was made of.
void BlockPass::take_results(BlockInWork& work) {
  for (const Layer& layer : work.layers)
    if (const auto found = work.quantized.find(layer.name); found != work.quantized.end())
      work.block.linears[layer.index].replace(found->second.weight, found->second.activations);
}

/// What entered the experts of the block as it was, scaled as it is now.
pare::Matrix<float> BlockPass::expert_sample(const BlockInWork& work) const {
  pare::Matrix<float> x = (*statistics_)[engine::Site::feed_forward_input].sample;
  if (const auto scaled = work.input_scales.find(engine::Site::feed_forward_input);
      scaled != work.input_scales.end())
    divide_columns(x, scaled->second);
  return x;
}

void BlockPass::run_experts(BlockInWork& work, const Listener& listener, ExpertStore* store) {
  const engine::ExpertsDescription& experts = *work.block.description.experts;
  const Index width = work.block.router.cols();
  const pare::MatrixView<const float> inputs(expert_inputs_.data(),
                                             {std::ssize(expert_inputs_) / width, width});
  const ExpertTokens tokens(experts, work.block.router, inputs, least_expert_tokens_);
  const pare::Matrix<float> sampled = statistics_ ? expert_sample(work) : pare::Matrix<float>();
  std::optional<ExpertTokens> sample;
  if (statistics_) sample.emplace(experts, work.block.router, sampled, least_expert_tokens_);
  for (Index e = 0; e < experts.count; ++e) {
    BlockInWork own = take_expert(runner_.config(), work, e);
    listener("expert " + std::to_string(e),
             0.5 + 0.5 * static_cast<double>(e) / static_cast<double>(experts.count));
    const auto silent = [](const std::string&, double) {};
    std::optional<BlockStatistics> statistics;
    if (sample) statistics.emplace(expert_statistics(runner_, own, e, sample->of(e)));
    for (const auto& step : steps_)
      step->prepare(own, step->needs().float_statistics ? &*statistics : nullptr, silent);
    Observations observations;
    if (const auto wanted = wanted_sites(own, observations); stream_ && !wanted.empty()) {
      const pare::Matrix<float> x = tokens.of(e);
      const engine::Site input{engine::Site::Kind::feed_forward_input, e};
      const engine::Site hidden{engine::Site::Kind::feed_forward_hidden, e};
      if (wanted.contains(input)) show(own, input, x, observations);
      if (wanted.contains(hidden))
        show(own, hidden, runner_.expert_hidden(own.block, e, x), observations);
    }
    for (const auto& step : steps_) step->compress(own, observations, silent);
    work.take_notes(own);
    if (work.block.read_expert) {
      store->write_expert(own, e);
      continue;
    }
    take_results(own);
    give_expert_back(own, work, e);
  }
  if (work.block.read_expert)
    work.block.read_expert = [store, index = work.index](Index expert) {
      return store->read_expert(index, expert);
    };
  const ExpertTokens* const used = stream_ ? &tokens : sample ? &*sample : nullptr;
  if (const Index few = used ? used->experts_with_few() : 0; few > 0)
    work.notices.push_back(runner_.config().block_prefix(work.index) + "*: " + std::to_string(few) +
                           " of " + std::to_string(experts.count) + " experts get fewer than " +
                           std::to_string(least_expert_tokens_) +
                           " tokens of the calibration text: their statistics are of all tokens");
  work.layers = layers_of_block(runner_.config(), work.index);
}

void BlockPass::skip(Index index, const std::function<engine::Block()>& original,
                     const std::function<engine::Block()>& finished) {
  if (originals_) originals_->advance(runner_, original());
  if (stream_ && !needs_.sequential) {
    const auto silent = [](const std::string&, double) {};
    stream_->advance(runner_, prepare(index, original(), silent).block);
    return;
  }
  if (needs_.float_statistics) float_calibration_->skip(index, original());
  if (stream_) stream_->advance(runner_, finished());
}

}  // namespace cli
