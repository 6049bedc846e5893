#include "cli/block_quantizer.hpp"

#include <cmath>
#include <span>
#include <utility>

#include "cli/activation_observer.hpp"
#include "pare/calibration/hessian.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/quantization/awq.hpp"
#include "pare/quantization/awq_clip.hpp"
#include "pare/quantization/fold.hpp"
#include "pare/quantization/gptq.hpp"
#include "pare/quantization/quantize.hpp"
#include "pare/quantization/smoothquant.hpp"

namespace cli {

using engine::Block;
using engine::LinearId;
using engine::Site;
using pare::Matrix;
using pare::MatrixView;

/// What one pass over the stream gathers, by site.
struct BlockQuantizer::Observations {
  std::vector<pare::Hessian> hessians;
  std::vector<ActivationObserver> observers;
};

namespace {

std::vector<MatrixView<const float>> weights_at(const Block& block, Site site) {
  std::vector<MatrixView<const float>> weights;
  for (const LinearId id : engine::linears_at(site)) weights.push_back(block[id].dense().view());
  return weights;
}

double mean_squared_difference(const Matrix<float>& a, const Matrix<float>& b) {
  double sum = 0.0;
  for (Index i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]);
    sum += difference * difference;
  }
  return sum / static_cast<double>(a.size());
}

/// Runs `fold` with the C++ type a tensor is stored in: folded values are rounded to it once.
template <class F>
void with_stored_type(pare::DType dtype, F&& fold) {
  switch (dtype) {
    case pare::DType::F16:
      return fold(pare::Float16{});
    case pare::DType::BF16:
      return fold(pare::BFloat16{});
    default:
      return fold(float{});
  }
}

/// Multiplies the columns of the layers fed at `site`. They are quantized next, from float32.
void fold_consumers(Block& block, Site site, const pare::Vector<float>& scales) {
  for (const LinearId id : engine::linears_at(site))
    pare::fold_into_columns(block[id].dense().view(), scales);
}

/// AWQ folds into v_proj only where its rows are o_proj's columns, one to one (no grouped heads).
bool can_fold(const Block& block, Site site) {
  return site != Site::attention_output ||
         block[LinearId::v].dense().shape() == block[LinearId::o].dense().shape();
}

}  // namespace

BlockQuantizer::BlockQuantizer(const Recipe& recipe, const engine::BlockRunner& runner,
                               const CalibrationWindows* windows, MatrixView<const float> embedding,
                               FloatCalibration* float_calibration, StoredType stored_type)
    : recipe_(recipe),
      runner_(runner),
      float_calibration_(float_calibration),
      stored_type_(std::move(stored_type)) {
  if (needs_stream()) stream_.emplace(embedding, *windows);
}

void BlockQuantizer::fold_vector(const std::string& tensor, pare::Vector<float>& values,
                                 const pare::Vector<float>& scales) const {
  with_stored_type(stored_type_(tensor),
                   [&](auto stored) { pare::fold_into_vector<decltype(stored)>(values, scales); });
}

/// Divides what produces the activations of `site`. Linear layers are quantized next, from float32.
void BlockQuantizer::fold_producer(Index index, Block& block, Site site,
                                   const pare::Vector<float>& scales) const {
  const std::string prefix = engine::block_prefix(index);
  const auto divide = [&](LinearId id) {
    pare::fold_into_rows(block[id].dense().view(), scales);
    if (auto& bias = block[id].bias(); !bias.empty())
      fold_vector(engine::linear_name(index, id) + ".bias", bias, scales);
  };
  switch (site) {
    case Site::attention_input:
      return fold_vector(prefix + "input_layernorm.weight", block.input_norm, scales);
    case Site::attention_output:
      return divide(LinearId::v);
    case Site::mlp_input:
      return fold_vector(prefix + "post_attention_layernorm.weight", block.post_attention_norm,
                         scales);
    case Site::mlp_hidden:
      return divide(LinearId::up);
  }
}

void BlockQuantizer::smooth(Index index, Block& block) {
  const BlockStatistics& statistics = float_calibration_->at(index, block);
  for (const Site site : {Site::attention_input, Site::mlp_input}) {
    const auto scales = pare::smoothquant_scales(statistics[site].statistics.absmax(),
                                                 weights_at(block, site), recipe_.alpha);
    fold_producer(index, block, site, scales);
    fold_consumers(block, site, scales);
  }
}

void BlockQuantizer::search_awq(Index index, Block& block, const Listener& listener) {
  const BlockStatistics& statistics = float_calibration_->at(index, block);
  const auto& execution = runner_.execution();
  const Index length = float_calibration_->window_length();
  std::vector<std::pair<Site, pare::Vector<float>>> found;
  pare::with_format(recipe_.weight_format(), [&]<class F>(pare::TypeTag<F>) {
    const Index group_size = recipe_.weight_group_size();
    // Trials round scales as they will be stored: what the search compares is what ships.
    const pare::AwqOptions options{
        .group_size = group_size,
        .scale_type = recipe_.scale_type.value_or(pare::default_scale_type<F>(group_size)),
        .underflow = recipe_.scale_underflow()};
    for (const Site site : engine::sites) {
      if (!can_fold(block, site)) continue;
      const auto layers = engine::linears_at(site);
      const auto& sample = statistics[site].sample;
      // The module whose output the search compares: attention, MLP, or the layer itself.
      const auto output = [&](const Block& b) {
        if (site == Site::attention_input) return runner_.attention(b, sample, length);
        if (site == Site::mlp_input) return runner_.mlp(b, sample);
        return b[layers[0]].forward(sample, execution);
      };
      listener(std::string(engine::linear_names[static_cast<std::size_t>(layers[0])]) + " (awq)",
               0.1 * static_cast<double>(site));
      const Matrix<float> wanted = output(block);
      Block trial = block;
      const auto loss = [&](std::span<const Matrix<float>> weights) {
        for (std::size_t i = 0; i < layers.size(); ++i) trial[layers[i]].dense() = weights[i];
        return mean_squared_difference(output(trial), wanted);
      };
      found.emplace_back(
          site, pare::awq_scales<F>(weights_at(block, site), statistics[site].statistics.mean_abs(),
                                    loss, options, execution)
                    .scales);
    }
    for (const auto& [site, scales] : found) {
      fold_producer(index, block, site, scales);
      fold_consumers(block, site, scales);
    }
    // GPTQ compensates better over the unclipped range; queries and keys are never clipped.
    if (recipe_.method != Method::awq) return;
    for (const Site site : engine::sites) {
      Matrix<float> x = statistics[site].sample;
      for (const auto& [scaled, scales] : found) {
        if (scaled != site) continue;
        for (Index t = 0; t < x.rows(); ++t)
          for (Index c = 0; c < x.cols(); ++c) x(t, c) /= scales[c];
      }
      for (const LinearId id : engine::linears_at(site)) {
        if (id == LinearId::q || id == LinearId::k) continue;
        listener(std::string(engine::linear_names[static_cast<std::size_t>(id)]) + " (clip)", 0.4);
        Matrix<float>& weight = block[id].dense();
        pare::apply_clip(weight, pare::awq_clip<F>(weight, x, options, execution),
                         options.group_size);
      }
    }
  });
}

BlockQuantizer::Observations BlockQuantizer::observe(Index index, const Block& block) const {
  Observations observations;
  for (const Site site : engine::sites) {
    const Index width = block[engine::linears_at(site)[0]].in_features();
    if (recipe_.uses_gptq()) observations.hessians.emplace_back(width);
    if (recipe_.activations() == Activations::static_int8)
      observations.observers.emplace_back(recipe_.observer);
  }
  if (!needs_stream()) return observations;
  stream_->observe(runner_, block, [&](Site site, MatrixView<const float> x) {
    const auto s = static_cast<std::size_t>(site);
    pare::with_context(engine::input_name(index, site), [&] {
      if (recipe_.uses_gptq()) observations.hessians[s].add(x, runner_.execution());
      if (recipe_.activations() == Activations::static_int8) observations.observers[s].observe(x);
    });
  });
  return observations;
}

pare::AnyQuantizedMatrix BlockQuantizer::quantize_weight(
    const std::string& name, MatrixView<const float> weight, const Observations& observations,
    Site site, std::optional<pare::GptqFactor>& factor, QuantizedBlock& result) const {
  const Index group_size = recipe_.weight_group_size();
  pare::RangeOptions range{.method = recipe_.range, .underflow = recipe_.scale_underflow()};
  if (recipe_.method == Method::awq) range.extend_to_zero = false;
  pare::ScaleType scale_type{};
  pare::GptqReport report;
  pare::QuantizeReport nearest;
  auto quantized = pare::with_format(
      recipe_.weight_format(), [&]<class F>(pare::TypeTag<F>) -> pare::AnyQuantizedMatrix {
        scale_type = recipe_.scale_type.value_or(pare::default_scale_type<F>(group_size));
        if (!recipe_.uses_gptq())
          return pare::quantize<F>(weight,
                                   {.group_size = group_size,
                                    .scale_type = scale_type,
                                    .range = range,
                                    .report = &nearest},
                                   runner_.execution());
        const pare::GptqOptions options{.group_size = group_size,
                                        .scale_type = scale_type,
                                        .range = range,
                                        .damping = recipe_.damping,
                                        .act_order = recipe_.act_order,
                                        .static_groups = recipe_.static_groups,
                                        .report = &report};
        if (!factor)
          factor.emplace(observations.hessians[static_cast<std::size_t>(site)], options,
                         runner_.execution());
        return pare::gptq<F>(weight, *factor, options, runner_.execution());
      });
  result.scales_raised += report.scales_raised + nearest.scales_raised;
  const auto notice = [&](const std::string& what) {
    result.notices.push_back(name + ": " + what);
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

QuantizedBlock BlockQuantizer::quantize(Index index, Block block, const Listener& listener) {
  if (recipe_.method == Method::smoothquant) smooth(index, block);
  if (recipe_.uses_awq()) search_awq(index, block, listener);
  listener("calibration", recipe_.uses_awq() ? 0.4 : 0.0);
  const Observations observations = observe(index, block);
  // Static ranges belong to the float model: its stream moves on before the layers are replaced.
  if (stream_ && !recipe_.uses_gptq()) stream_->advance(runner_, block);

  QuantizedBlock result;
  for (const Site site : engine::sites) {
    std::optional<pare::ActivationOptions> activations;
    if (recipe_.activations() == Activations::dynamic_int8) activations = pare::ActivationOptions{};
    if (recipe_.activations() == Activations::static_int8)
      activations = observations.observers[static_cast<std::size_t>(site)].options(
          recipe_.activation_zero_point);
    std::optional<pare::GptqFactor> factor;  // layers at a site share their input
    for (const LinearId id : engine::linears_at(site)) {
      const std::string name = engine::linear_name(index, id);
      listener(std::string(engine::linear_names[static_cast<std::size_t>(id)]),
               0.5 + static_cast<double>(result.linears.size()) / 14.0);
      pare::with_context(name, [&] {
        result.linears.push_back(
            {quantize_weight(name, block[id].dense(), observations, site, factor, result),
             activations});
      });
      block[id].replace(result.linears.back().weight, activations);
    }
  }
  if (stream_ && recipe_.uses_gptq()) stream_->advance(runner_, block);
  result.block = std::move(block);
  return result;
}

void BlockQuantizer::skip(Index index, const std::function<Block()>& original,
                          const std::function<Block()>& quantized) {
  std::optional<Block> block;
  const auto original_block = [&]() -> Block& {
    return block ? *block : block.emplace(original());
  };
  if (recipe_.uses_awq()) float_calibration_->skip(index, original_block());
  if (recipe_.method == Method::smoothquant) smooth(index, original_block());
  if (!stream_) return;
  if (recipe_.uses_gptq())
    stream_->advance(runner_, quantized());
  else
    stream_->advance(runner_, original_block());
}

}  // namespace cli
