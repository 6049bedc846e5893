#include "training/gradient_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/random.hpp"
#include "training/language_model.hpp"
#include "training/operations/cross_entropy.hpp"

namespace training {
namespace {

template <Scalar S>
std::string layer_name(const Parameter<S>& weight) {
  return weight.name.substr(0, weight.name.rfind(".weight"));
}

/// Adds the gradient of `share` times the mean loss of some windows to the model's parameters.
template <Scalar S>
void add_gradients(LanguageModel<S>& model, std::span<const std::int32_t> ids, Index length,
                   double temperature, double share, Pass<S>& pass,
                   const pare::Execution& execution) {
  std::vector<std::int32_t> labels(ids.begin(), ids.end());
  std::rotate(labels.begin(), labels.begin() + 1, labels.end());
  for (Index last = length - 1; last < std::ssize(labels); last += length)
    labels[static_cast<std::size_t>(last)] = ignored_label;
  model.forward(ids, length, pass, execution);
  pare::Matrix<S> logits(pass.logits);
  const S factor = scalar<S>(1.0 / temperature);
  for (Index i = 0; i < logits.size(); ++i) logits.data()[i] *= factor;
  PassGradients<S> gradients;
  gradients.logits = pare::Matrix<S>(logits.shape());
  const S loss = cross_entropy<S>(logits, labels, gradients.logits, share / temperature, execution);
  if (!std::isfinite(value_of(loss)))
    throw pare::NumericError("the loss of the calibration text is " +
                             std::to_string(value_of(loss)));
  model.backward(pass, gradients, execution);
}

/// Calls take(windows of a batch, their share of all).
template <class Take>
void for_each_batch(const GradientText& text, Index batch, const Take& take) {
  if (text.length < 2 || std::ssize(text.ids) < text.length)
    throw pare::ArgumentError("windows of " + std::to_string(text.length) +
                              " tokens hold none to predict");
  const Index windows = std::ssize(text.ids) / text.length;
  for (Index first = 0; first < windows; first += batch) {
    const Index count = std::min(batch, windows - first);
    take(text.ids.subspan(static_cast<std::size_t>(first * text.length),
                          static_cast<std::size_t>(count * text.length)),
         static_cast<double>(count) / static_cast<double>(windows));
    if (text.progress) text.progress(first + count, windows);
  }
}

template <Scalar S>
void add_all_gradients(LanguageModel<S>& model, const GradientText& text, double temperature,
                       const pare::Execution& execution) {
  Pass<S> pass;
  for_each_batch(text, text.batch, [&](std::span<const std::int32_t> ids, double share) {
    add_gradients(model, ids, text.length, temperature, share, pass, execution);
  });
}

/// matrices[layer] = value(gradient) of each element.
template <Scalar S, class Value>
LayerMatrices of_layers(const LanguageModel<S>& model, const Value& value) {
  LayerMatrices matrices;
  for (const std::size_t p : model.layers()) {
    const Parameter<S>& weight = model.parameters()[p];
    pare::Matrix<float> matrix(weight.gradient.shape());
    for (Index i = 0; i < matrix.size(); ++i) {
      matrix.data()[i] = static_cast<float>(value(p, i));
      if (!std::isfinite(matrix.data()[i]))
        throw pare::NumericError("the gradient of " + weight.name + " is not finite");
    }
    matrices.emplace(layer_name(weight), std::move(matrix));
  }
  return matrices;
}

using D = Dual<double>;

/// Tangents of the gradients: the product of the Hessian with the tangents of the layers.
void multiply_hessian(LanguageModel<D>& model, const GradientText& text, double temperature,
                      const pare::Execution& execution) {
  model.zero_gradients();
  add_all_gradients(model, text, temperature, execution);
}

}  // namespace

LayerMatrices mean_gradients(const engine::Model& model, const GradientText& text,
                             const pare::Execution& execution) {
  LanguageModel<float> trained(model);
  add_all_gradients(trained, text, 1.0, execution);
  return of_layers(
      trained, [&](std::size_t p, Index i) { return trained.parameters()[p].gradient.data()[i]; });
}

LayerMatrices mean_squared_gradients(const engine::Model& model, const GradientText& text,
                                     const pare::Execution& execution) {
  LanguageModel<float> trained(model);
  const std::vector<std::size_t> layers = trained.layers();
  std::vector<pare::Matrix<double>> squares(trained.parameters().size());
  for (const std::size_t p : layers)
    squares[p] = pare::Matrix<double>(trained.parameters()[p].value.shape());
  Pass<float> pass;
  for_each_batch(text, 1, [&](std::span<const std::int32_t> ids, double share) {
    trained.zero_gradients();
    add_gradients(trained, ids, text.length, 1.0, 1.0, pass, execution);
    execution.parallel_for(std::ssize(layers), [&](Index layer) {
      const std::size_t p = layers[static_cast<std::size_t>(layer)];
      const pare::Matrix<float>& gradient = trained.parameters()[p].gradient;
      for (Index i = 0; i < gradient.size(); ++i) {
        const double g = static_cast<double>(gradient.data()[i]);
        squares[p].data()[i] += share * g * g;
      }
    });
  });
  return of_layers(trained, [&](std::size_t p, Index i) { return squares[p].data()[i]; });
}

LayerMatrices hessian_gradients(const engine::Model& model, const GradientText& text,
                                double temperature, const pare::Execution& execution) {
  LanguageModel<D> dual(model);
  {
    LanguageModel<double> trained(model);
    add_all_gradients(trained, text, temperature, execution);
    for (const std::size_t p : dual.layers())
      for (Index i = 0; i < dual.parameters()[p].value.size(); ++i)
        dual.parameters()[p].value.data()[i].tangent = trained.parameters()[p].gradient.data()[i];
  }
  multiply_hessian(dual, text, temperature, execution);
  return of_layers(dual, [&](std::size_t p, Index i) {
    return dual.parameters()[p].gradient.data()[i].tangent;
  });
}

LayerMatrices hessian_diagonals(const engine::Model& model, const GradientText& text, Index probes,
                                std::uint64_t seed, const pare::Execution& execution) {
  if (probes < 1) throw pare::ArgumentError("a Hessian's diagonal by no probes");
  LanguageModel<D> dual(model);
  std::vector<pare::Matrix<double>> sums(dual.parameters().size());
  for (const std::size_t p : dual.layers())
    sums[p] = pare::Matrix<double>(dual.parameters()[p].value.shape());
  pare::Random random(seed);
  for (Index probe = 0; probe < probes; ++probe) {
    for (const std::size_t p : dual.layers())
      for (Index i = 0; i < sums[p].size(); ++i)
        dual.parameters()[p].value.data()[i].tangent = (random() >> 63) != 0 ? 1.0 : -1.0;
    multiply_hessian(dual, text, 1.0, execution);
    for (const std::size_t p : dual.layers())
      for (Index i = 0; i < sums[p].size(); ++i)
        sums[p].data()[i] += dual.parameters()[p].value.data()[i].tangent *
                             dual.parameters()[p].gradient.data()[i].tangent;
  }
  return of_layers(dual, [&](std::size_t p, Index i) {
    return sums[p].data()[i] / static_cast<double>(probes);
  });
}

}  // namespace training
