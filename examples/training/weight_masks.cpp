#include "training/weight_masks.hpp"

#include <algorithm>
#include <string>

#include "pare/core/error.hpp"
#include "pare/pruning/scores/magnitude.hpp"
#include "pare/pruning/selection.hpp"

namespace training {
namespace {

/// As Mask::apply, rows concurrently.
void apply(const pare::Mask& mask, pare::Matrix<float>& values, const pare::Execution& execution) {
  execution.parallel_for(mask.rows(), [&](Index i) {
    for (Index j = 0; j < mask.cols(); ++j)
      if (!mask(i, j)) values(i, j) = 0.0f;
  });
}

}  // namespace

void WeightMasks::keep_zeros(const Network<float>& model) {
  for (const std::size_t p : model.layers())
    keep(model, p, pare::nonzero_mask(model.parameters()[p].value));
}

void WeightMasks::keep(const Network<float>& model, std::size_t parameter, pare::Mask mask) {
  const Parameter<float>& masked = model.parameters()[parameter];
  if (mask.shape() != masked.value.shape())
    throw pare::ShapeError(masked.name + " has the shape " + pare::to_string(masked.value.shape()) +
                           ", its mask " + pare::to_string(mask.shape()));
  layers_.push_back({parameter, std::move(mask)});
}

void WeightMasks::remove_gradually(const Network<float>& model, const GradualPruning& pruning) {
  (void)pare::cubic_sparsity(0, pruning.schedule);
  pruning_ = pruning;
  for (const std::size_t p : model.layers()) {
    const pare::Matrix<float>& value = model.parameters()[p].value;
    Layer layer{p, pare::Mask(value.rows(), value.cols()), pare::nonzero_mask(value).sparsity()};
    if (makes_copies()) layer.movement.emplace(value.shape());
    layers_.push_back(std::move(layer));
  }
}

void WeightMasks::prepare(Network<float>& model, std::int64_t step,
                          const pare::Execution& execution) {
  for (Layer& layer : layers_) {
    Parameter<float>& parameter = model.parameters()[layer.parameter];
    if (!pruning_) {
      apply(layer.mask, parameter.value, execution);
      continue;
    }
    const double sparsity = pare::cubic_sparsity(step, pruning_->schedule);
    if (layer.movement) {
      layer.mask = pare::movement_mask(layer.movement->scores(), 1.0 - sparsity);
      parameter.used = parameter.value;
      apply(layer.mask, parameter.used, execution);
      continue;
    }
    if (const double target = std::max(sparsity, layer.zeros); target > layer.reached) {
      layer.mask = pare::select(
          pare::magnitude_scores(parameter.value, execution),
          {.sparsity = std::max(target, layer.mask.sparsity()), .within = &layer.mask}, execution);
      layer.reached = target;
    }
    apply(layer.mask, parameter.value, execution);
  }
}

void WeightMasks::mask_gradients(Network<float>& model, double rate,
                                 const pare::Execution& execution) {
  for (Layer& layer : layers_) {
    Parameter<float>& parameter = model.parameters()[layer.parameter];
    if (layer.movement)
      pare::with_context(parameter.name, [&] {
        layer.movement->add(parameter.value, parameter.gradient, rate, execution);
      });
    apply(layer.mask, parameter.gradient, execution);
  }
}

void WeightMasks::mask_values(Network<float>& model, const pare::Execution& execution) {
  if (makes_copies()) return;
  for (const Layer& layer : layers_)
    apply(layer.mask, model.parameters()[layer.parameter].value, execution);
}

double WeightMasks::sparsity() const {
  Index removed = 0, all = 0;
  for (const Layer& layer : layers_) {
    removed += layer.mask.removed();
    all += layer.mask.size();
  }
  return all == 0 ? 0.0 : static_cast<double>(removed) / static_cast<double>(all);
}

void WeightMasks::add_parts(const Network<float>& model, std::vector<StatePart>& parts) {
  for (Layer& layer : layers_) {
    const std::string& name = model.parameters()[layer.parameter].name;
    if (layer.movement) {
      const auto sums = layer.movement->sums();
      parts.push_back(
          {"movement." + name,
           std::as_writable_bytes(std::span(sums.data(), static_cast<std::size_t>(sums.size())))});
    } else if (pruning_) {
      const auto words = static_cast<std::size_t>(
          layer.mask.rows() * pare::ceil_div(layer.mask.cols(), pare::Mask::word_bits));
      parts.push_back(
          {"mask." + name, std::as_writable_bytes(std::span(layer.mask.words_from(0, 0), words))});
    }
  }
}

}  // namespace training
