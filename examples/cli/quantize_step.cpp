#include "cli/quantize_step.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "cli/learned_block.hpp"
#include "cli/round_weight.hpp"
#include "engine/scale_folding.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/quantization/awq.hpp"
#include "pare/quantization/awq_clip.hpp"
#include "pare/quantization/gptq.hpp"
#include "pare/quantization/smoothquant.hpp"

namespace cli {

using engine::Block;
using engine::Role;
using engine::Site;
using pare::Matrix;
using pare::MatrixView;

namespace {

/// A layer's name in the model.
std::string full_name(const engine::ModelConfig& config, const BlockInWork& work,
                      std::size_t linear) {
  return config.block_prefix(work.index) + work.block.description.linears[linear].name;
}

/// Calls use(layer) for all that read a site; experts that are not in memory come one by one.
template <class Use>
void for_each_reader(const Block& block, Site site, Use use) {
  const auto here = [&](const Block& holder) {
    for (const std::size_t i : engine::readers_of(holder.description, site)) use(holder.linears[i]);
  };
  here(block);
  if (!block.read_expert || site != Site::feed_forward_input) return;
  for (Index e = 0; e < block.description.experts->count; ++e) here(block.read_expert(e));
}

double mean_squared_difference(const Matrix<float>& a, const Matrix<float>& b) {
  double sum = 0.0;
  for (Index i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]);
    sum += difference * difference;
  }
  return sum / static_cast<double>(a.size());
}

/// A layer's name within its block.
const std::string& short_name(const BlockInWork& work, const Layer& layer) {
  return work.block.description.linears[layer.index].name;
}

/// "mlp.experts.#.gate_proj": one name for all experts.
std::string without_numbers(const std::string& name) {
  std::string text;
  for (const char c : name)
    if (c < '0' || c > '9' || (text.empty() || (text.back() != '.' && text.back() != '#')))
      text += c;
    else if (text.back() != '#')
      text += '#';
  return text;
}

/// The sites of the layers in work, in order.
std::vector<Site> sites_of(const BlockInWork& work) {
  std::vector<Site> sites;
  for (const Layer& layer : work.layers)
    if (std::find(sites.begin(), sites.end(), layer.site) == sites.end())
      sites.push_back(layer.site);
  return sites;
}

bool computes(const engine::LinearDescription& linear, std::initializer_list<Role> roles) {
  return std::any_of(linear.parts.begin(), linear.parts.end(), [&](const auto& part) {
    return std::find(roles.begin(), roles.end(), part.role) != roles.end();
  });
}

/// Trials round scales as they will be stored: what a search compares is what ships.
template <class F>
pare::AwqOptions awq_options(const Recipe& recipe, Index group_size) {
  return {.group_size = group_size,
          .scale_type = scale_type_of<F>(recipe, group_size),
          .underflow = recipe.scale_underflow()};
}

}  // namespace

QuantizeStep::QuantizeStep(const Recipe& recipe, LayerFormats formats,
                           const engine::BlockRunner& runner, StoredType stored_type,
                           std::optional<PruneRecipe> prune)
    : recipe_(recipe),
      formats_(std::move(formats)),
      runner_(runner),
      stored_type_(std::move(stored_type)),
      prune_(std::move(prune)) {}

Needs QuantizeStep::needs() const {
  return {.float_statistics = recipe_.uses_awq() || recipe_.method == Method::smoothquant,
          .hessians = recipe_.sweeps(),
          .inputs = recipe_.uses_static_activations(),
          .windows = recipe_.learns(),
          .sequential = recipe_.uses_gptq() || recipe_.learns()};
}

bool QuantizeStep::wants(const std::string& layer) const {
  const auto found = formats_.find(layer);
  return found != formats_.end() && !found->second.is_skip();
}

/// The format of all layers that read a site, if they have one and are quantized.
std::optional<LayerFormat> QuantizeStep::common_format(const BlockInWork& work, Site site) const {
  std::optional<LayerFormat> common;
  for (const std::size_t i : engine::readers_of(work.block.description, site)) {
    const LayerFormat& own = format(full_name(runner_.config(), work, i));
    if (own.is_skip() || (common && own != *common)) return std::nullopt;
    common = own;
  }
  return common;
}

/// True when all layers that scaling a site changes are quantized, those that read it in one
/// format, and the scales can be folded into something.
bool QuantizeStep::can_scale(BlockInWork& work, Site site) const {
  const auto& description = work.block.description;
  const std::vector<std::size_t> readers = engine::readers_of(description, site);
  if (std::none_of(readers.begin(), readers.end(),
                   [&](std::size_t i) { return wants(full_name(runner_.config(), work, i)); }))
    return false;
  const auto producer = engine::producer_of(runner_.config(), description, site);
  if (!producer) {
    // What all experts read is scaled for all of them.
    if (site.kind != Site::Kind::feed_forward_input || site.expert < 0)
      ++work.counts["inputs of " + without_numbers(description.linears[readers[0]].name) +
                    " unscaled"];
    return false;
  }
  if (common_format(work, site) &&
      (!producer->part || wants(full_name(runner_.config(), work, producer->part->linear))))
    return true;
  work.notices.push_back(
      "the " + runner_.config().input_name(work.index, site) +
      " is not scaled: a layer that this would change is skipped or has another format");
  return false;
}

void QuantizeStep::fold(BlockInWork& work, Site site, const pare::Vector<float>& scales) const {
  engine::fold_scales(runner_.config(), work.index, work.block, site, scales, stored_type_);
  work.input_scales.insert_or_assign(site, scales);
}

/// Experts count by the largest weight of each column: one of them is in memory at a time.
pare::Vector<float> QuantizeStep::smooth_scales(const BlockInWork& work, Site site,
                                                const BlockStatistics& statistics) const {
  const auto& absmax = statistics[site].statistics.absmax();
  Matrix<float> largest({1, absmax.size()});
  for_each_reader(work.block, site, [&](const engine::Linear& layer) {
    const Matrix<float>& weight = layer.dense();
    for (Index i = 0; i < weight.rows(); ++i)
      for (Index c = 0; c < weight.cols(); ++c)
        largest(0, c) = std::max(largest(0, c), std::fabs(weight(i, c)));
  });
  return pare::smoothquant_scales(absmax, largest, recipe_.alpha);
}

void QuantizeStep::smooth(BlockInWork& work, const BlockStatistics& statistics) const {
  for (const Site site : {Site::attention_input, Site::feed_forward_input})
    if (statistics.sites.contains(site) && can_scale(work, site))
      fold(work, site, smooth_scales(work, site, statistics));
}

template <class F>
pare::Vector<float> QuantizeStep::awq_scales_at(const BlockInWork& work, Site site,
                                                const BlockStatistics& statistics,
                                                Index group_size) const {
  const Block& block = work.block;
  const auto& execution = runner_.execution();
  const auto& [of_site, sample] = statistics[site];
  const auto output = [&](const Block& of) {
    return runner_.output_behind(of, site, sample, statistics.window_length, statistics.visible);
  };
  const pare::AwqOptions options = awq_options<F>(recipe_, group_size);
  const Matrix<float> wanted = output(block);
  const std::vector<std::size_t> readers = engine::readers_of(block.description, site);
  Block trial = block;
  if (!block.read_expert) {
    std::vector<MatrixView<const float>> weights;
    for (const std::size_t i : readers) weights.push_back(block.linears[i].dense().view());
    const auto loss = [&](std::span<const Matrix<float>> trials) {
      for (std::size_t i = 0; i < readers.size(); ++i)
        trial.linears[readers[i]].dense() = trials[i];
      return mean_squared_difference(output(trial), wanted);
    };
    return pare::awq_scales<F>(weights, of_site.mean_abs(), loss, options, execution).scales;
  }
  const auto loss = [&](const pare::Vector<float>& scales) {
    const auto round = [&](const Block& from, Block& to) {
      for (const std::size_t i : engine::readers_of(from.description, site))
        if (const Matrix<float>& weight = from.linears[i].dense(); !weight.empty())
          to.linears[i].dense() = pare::awq_trial<F>(weight, scales, options, execution);
    };
    round(block, trial);
    trial.read_expert = [&](Index expert) {
      Block own = block.read_expert(expert);
      round(own, own);
      return own;
    };
    return mean_squared_difference(output(trial), wanted);
  };
  return pare::awq_search(of_site.mean_abs(), loss, options).scales;
}

void QuantizeStep::search_awq(BlockInWork& work, const BlockStatistics& statistics,
                              const Listener& listener) const {
  const auto& description = work.block.description;
  std::map<Site, pare::Vector<float>> found;
  std::vector<Site> sites = sites_of(work);
  const auto is_new = [&](Site site) {
    return std::find(sites.begin(), sites.end(), site) == sites.end();
  };
  // Where only experts read it no layer in work does.
  if (description.experts && is_new(Site::feed_forward_input))
    sites.push_back(Site::feed_forward_input);
  for (const Site site : sites) {
    if (!can_scale(work, site)) continue;
    const LayerFormat common = common_format(work, site).value();
    const std::string& first = description.linears[engine::readers_of(description, site)[0]].name;
    listener(first + " (awq)",
             0.4 * static_cast<double>(found.size()) / static_cast<double>(sites.size()));
    pare::with_context(runner_.config().block_prefix(work.index) + first, [&] {
      pare::with_format(common.weight_format(), [&]<class F>(pare::TypeTag<F>) {
        found.emplace(site, awq_scales_at<F>(work, site, statistics, common.weight_group_size()));
      });
    });
  }
  for (const auto& [site, scales] : found) fold(work, site, scales);
  // GPTQ compensates better over the unclipped range.
  if (recipe_.method == Method::awq) clip(work, statistics, listener);
}

/// Queries and keys are never clipped.
void QuantizeStep::clip(BlockInWork& work, const BlockStatistics& statistics,
                        const Listener& listener) const {
  for (const Site site : sites_of(work)) {
    Matrix<float> x = statistics[site].sample;
    if (const auto scaled = work.input_scales.find(site); scaled != work.input_scales.end())
      divide_columns(x, scaled->second);
    for (const Layer& layer : work.layers) {
      if (layer.site != site ||
          computes(work.block.description.linears[layer.index], {Role::query, Role::key}))
        continue;
      const LayerFormat& own = format(layer.name);
      if (own.is_skip()) continue;
      listener(short_name(work, layer) + " (clip)", 0.4);
      pare::with_context(layer.name, [&] {
        pare::with_format(own.weight_format(), [&]<class F>(pare::TypeTag<F>) {
          const pare::AwqOptions options = awq_options<F>(recipe_, own.weight_group_size());
          Matrix<float>& weight = work.weight(layer);
          pare::apply_clip(weight, pare::awq_clip<F>(weight, x, options, runner_.execution()),
                           options.group_size);
        });
      });
    }
  }
}

void QuantizeStep::prepare(BlockInWork& work, const BlockStatistics* statistics,
                           const Listener& listener) {
  observers_.clear();
  if (recipe_.method == Method::smoothquant) smooth(work, *statistics);
  if (recipe_.uses_awq()) search_awq(work, *statistics, listener);
}

void QuantizeStep::observe(const BlockInWork& work, Site site, MatrixView<const float> x) {
  const bool is_static = std::any_of(work.layers.begin(), work.layers.end(), [&](const Layer& l) {
    return l.site == site && format(l.name).activations() == Activations::static_int8;
  });
  if (is_static) observers_.try_emplace(site, recipe_.observer).first->second.observe(x);
}

std::optional<pare::ActivationOptions> QuantizeStep::activations(const Layer& layer) const {
  switch (format(layer.name).activations()) {
    case Activations::dynamic_int8:
      return pare::ActivationOptions{};
    case Activations::static_int8:
      return observers_.at(layer.site).options(recipe_.activation_zero_point);
    case Activations::float32:
      break;
  }
  return std::nullopt;
}

pare::AnyQuantizedMatrix QuantizeStep::quantize_weight(BlockInWork& work, const Layer& layer,
                                                       const Observations& observations,
                                                       SharedByInputs& shared) const {
  const LayerFormat& own = format(layer.name);
  // What an update other than the sweep's own made: the sweep goes on from there.
  std::optional<pare::PruneResult> pruned;
  if (prune_ && prune_->update != PruneUpdate::sparsegpt) {
    if (!shared.update)
      shared.update.emplace(*prune_, observations.hessian(layer.site), runner_.execution());
    pruned = (*shared.update)(work.weight(layer));
  }
  const MatrixView<const float> weight = pruned ? pruned->weight : work.weight(layer);
  const Index group_size = own.weight_group_size();
  pare::ScaleType scale_type{};
  pare::GptqReport report;
  Index raised = 0;
  const auto sweep = [&]<class F>(pare::TypeTag<F>) -> pare::AnyQuantizedMatrix {
    pare::GptqOptions options{.group_size = group_size,
                              .scale_type = scale_type,
                              .range = range_options(recipe_),
                              .damping = recipe_.damping,
                              .act_order = recipe_.act_order || recipe_.learns(),
                              .static_groups = recipe_.uses_static_groups() || recipe_.learns(),
                              .report = &report};
    if (!shared.factor)
      shared.factor.emplace(observations.hessian(layer.site), options.factor(),
                            runner_.execution());
    std::optional<pare::ObsMask> mask;
    if (prune_) {
      const pare::Selection selection = prune_->selection();
      mask.emplace(weight.rows(), *shared.factor,
                   pare::ObsMaskOptions{.sparsity = selection.sparsity,
                                        .keep = selection.keep,
                                        .of = selection.of,
                                        .support = pruned ? &pruned->mask : nullptr});
      options.mask = &*mask;
    }
    return pare::gptq<F>(weight, *shared.factor, options, runner_.execution());
  };
  pare::with_format(own.weight_format(), [&]<class F>(pare::TypeTag<F>) {
    scale_type = scale_type_of<F>(recipe_, group_size);
  });
  auto quantized = recipe_.sweeps()
                       ? pare::with_format(own.weight_format(), sweep)
                       : round_weight(recipe_, own, weight, runner_.execution(), raised);
  raised += report.scales_raised;
  if (raised > 0) work.counts["scales raised to the smallest F16 number"] += raised;
  const auto notice = [&](const std::string& what) {
    work.notices.push_back(layer.name + ": " + what);
  };
  if (report.attempts > 1) notice("the damping was raised to " + std::to_string(report.damping));
  if (report.dead_inputs > 0)
    notice(std::to_string(report.dead_inputs) +
           " inputs were always zero; their weights are zeroed");
  if (quantized.scale_type() != scale_type)
    notice("a scale does not fit " + std::string(to_string(scale_type)) +
           "; all scales are kept in f32");
  return quantized;
}

/// In place of the codes that it begins with.
void QuantizeStep::learn(BlockInWork& work, const BlockWindows& windows,
                         const Listener& listener) const {
  std::vector<RoundedLayer> layers;
  for (const Layer& layer : work.layers)
    if (const auto found = work.quantized.find(layer.name); found != work.quantized.end())
      layers.push_back({layer.index, layer.name, &found->second.weight});
  const LearnedBlock learned =
      learn_block(recipe_, runner_.config(), work.block, layers, windows,
                  static_cast<std::uint64_t>(work.index), listener, runner_.execution());
  for (std::size_t k = 0; k < layers.size(); ++k)
    work.quantized.at(layers[k].name).weight = learned.weights[k];
  if (!learned.is_better)
    work.notices.push_back(runner_.config().block_prefix(work.index) +
                           "*: nothing better was learned than the codes that it began with");
}

void QuantizeStep::compress(BlockInWork& work, const Observations& observations,
                            const Listener& listener) {
  SharedByInputs shared;
  std::optional<Site> site;
  for (std::size_t i = 0; i < work.layers.size(); ++i) {
    const Layer& layer = work.layers[i];
    if (site != layer.site) shared = {};
    site = layer.site;
    if (!wants(layer.name)) continue;
    listener(short_name(work, layer),
             0.5 + static_cast<double>(i) / static_cast<double>(2 * work.layers.size()));
    pare::with_context(layer.name, [&] {
      work.quantized.insert_or_assign(
          layer.name, engine::QuantizedLinear{quantize_weight(work, layer, observations, shared),
                                              activations(layer)});
    });
  }
  if (recipe_.learns() && !work.quantized.empty()) learn(work, observations.windows(), listener);
}

/// Rounded to nearest whatever the method: nothing is observed there, so that its input is
/// quantized by what it is.
engine::QuantizedLinear QuantizeStep::compress_output_layer(const std::string& name,
                                                            MatrixView<const float> weight) {
  const LayerFormat& own = format(name);
  return pare::with_context(name, [&] {
    Index raised = 0;
    engine::QuantizedLinear linear{
        round_weight(Recipe{}, own, weight, runner_.execution(), raised)};
    if (own.activations() != Activations::float32) linear.activations = pare::ActivationOptions{};
    return linear;
  });
}

}  // namespace cli
