#include "training/sequential.hpp"

#include <cmath>
#include <utility>

#include "pare/core/error.hpp"
#include "pare/core/random.hpp"
#include "training/operations/activation.hpp"
#include "training/operations/linear.hpp"
#include "training/shaped.hpp"

namespace training {
namespace {

ConvolutionSettings settings_of(const ConvolutionLayer& layer, const ImageShape& input) {
  return {input, layer.channels, layer.windows, layer.groups};
}
PoolingSettings settings_of(const PoolingLayer& layer, const ImageShape& input) {
  return {input, layer.kind, layer.windows};
}
BatchNormSettings settings_of(const BatchNormLayer& layer, const ImageShape& input) {
  return {input, layer.epsilon, layer.momentum};
}

/// What leaves a layer.
ImageShape output_of(const LinearLayer& layer, const ImageShape& input) {
  if (input.pixels() != 1)
    throw pare::ArgumentError("a linear layer reads features, and what enters is an image of " +
                              to_string(input) + ": flatten it before");
  if (layer.features < 1)
    throw pare::ArgumentError("a linear layer of " + std::to_string(layer.features) + " features");
  return {layer.features};
}
ImageShape output_of(const ConvolutionLayer& layer, const ImageShape& input) {
  return settings_of(layer, input).output();
}
ImageShape output_of(const BatchNormLayer& layer, const ImageShape& input) {
  if (!(layer.epsilon > 0.0) || !(layer.momentum >= 0.0 && layer.momentum <= 1.0))
    throw pare::ArgumentError("a batch norm needs an epsilon above 0 and a momentum in [0, 1]");
  return input;
}
ImageShape output_of(const PoolingLayer& layer, const ImageShape& input) {
  return settings_of(layer, input).output();
}
ImageShape output_of(const FlattenLayer&, const ImageShape& input) { return {input.size()}; }
ImageShape output_of(const ReluLayer&, const ImageShape& input) { return input; }

}  // namespace

template <Scalar S>
Sequential<S>::Sequential(const ImageShape& input, const std::vector<SequentialLayer>& layers,
                          std::uint64_t seed)
    : input_(input), output_(input) {
  if (input.channels < 1 || input.height < 1 || input.width < 1)
    throw pare::ArgumentError("a network cannot read inputs of " + to_string(input));
  pare::Random random(seed);
  for (std::size_t i = 0; i < layers.size(); ++i)
    pare::with_context("layer " + std::to_string(i), [&] { add_step(i, layers[i], random); });
  if (steps_.empty()) throw pare::ArgumentError("the network has no layer that computes anything");
}

template <Scalar S>
void Sequential<S>::add_step(std::size_t number, const SequentialLayer& layer,
                             pare::Random& random) {
  const std::string name = std::to_string(number);
  Step step{layer, output_, {}, {}, {}, {}};
  step.output = output_ =
      std::visit([&](const auto& own) { return output_of(own, step.input); }, layer);
  if (const auto* const linear = std::get_if<LinearLayer>(&layer)) {
    add_weights(step, name, {linear->features, step.input.size()}, linear->bias, random);
  } else if (const auto* const convolution = std::get_if<ConvolutionLayer>(&layer)) {
    add_weights(step, name, {convolution->channels, settings_of(*convolution, step.input).taps()},
                convolution->bias, random);
  } else if (std::holds_alternative<BatchNormLayer>(layer)) {
    const Index channels = step.input.channels;
    pare::Matrix<S> ones({1, channels});
    ones.fill(S{1});
    step.weight = this->add(name + ".weight", std::move(ones), false);
    step.bias = this->add(name + ".bias", pare::Matrix<S>({1, channels}), false);
    step.running = running_.size();
    running_.push_back({name, pare::Matrix<S>({2, channels})});
    for (Index c = 0; c < channels; ++c) running_.back().value(1, c) = S{1};
  } else if (std::holds_alternative<FlattenLayer>(layer)) {
    return;  // values lie in this order
  }
  steps_.push_back(std::move(step));
}

template <Scalar S>
void Sequential<S>::add_weights(Step& step, const std::string& name, pare::Shape<2> shape,
                                bool bias, pare::Random& random) {
  // He et al.'s bound for a leaky ReLU of slope sqrt(5): sqrt(6 / (1 + 5) / inputs).
  const auto bound = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape[1])));
  const auto random_values = [&](pare::Shape<2> of) {
    pare::Matrix<S> values(of);
    for (S& value : values) value = S(random.uniform(-bound, bound));
    return values;
  };
  step.weight = this->add(name + ".weight", random_values(shape), true);
  this->layers_.push_back(*step.weight);
  if (bias) step.bias = this->add(name + ".bias", random_values({1, shape[0]}), false);
}

template <Scalar S>
void Sequential<S>::require_alike(std::size_t parameters, std::size_t norms) const {
  if (parameters != this->parameters_.size() || norms != running_.size())
    throw pare::ShapeError("the other network has other layers: " + std::to_string(parameters) +
                           " parameters and " + std::to_string(norms) + " batch norms, not " +
                           std::to_string(this->parameters_.size()) + " and " +
                           std::to_string(running_.size()));
}

template <Scalar S>
void Sequential<S>::step_forward(const Step& step, pare::MatrixView<const S> x, Mode mode,
                                 pare::Matrix<S>& statistics, pare::MatrixView<S> y,
                                 const pare::Execution& execution) {
  const auto w = read(step.weight), bias = read(step.bias);
  if (std::holds_alternative<LinearLayer>(step.layer)) {
    linear<S>(x, w, bias, y, execution);
  } else if (const auto* const layer = std::get_if<ConvolutionLayer>(&step.layer)) {
    convolution<S>(settings_of(*layer, step.input), x, w, bias, y, execution);
  } else if (const auto* const pool = std::get_if<PoolingLayer>(&step.layer)) {
    pooling<S>(settings_of(*pool, step.input), x, y, execution);
  } else if (const auto* const norm = std::get_if<BatchNormLayer>(&step.layer)) {
    const BatchNormSettings settings = settings_of(*norm, step.input);
    const auto of_channels = shaped(statistics, 2, step.input.channels);
    const auto running = running_[*step.running].value.view();
    if (mode == Mode::training)
      batch_statistics<S>(settings, x, of_channels, running, execution);
    else
      running_statistics<S>(settings, running, of_channels);
    batch_norm<S>(settings, x, of_channels, w, bias, y, execution);
  } else {
    feed_forward<S>(engine::Activation::relu, {}, x, y, execution);
  }
}

template <Scalar S>
void Sequential<S>::step_back(const Step& step, pare::MatrixView<const S> x, Mode mode,
                              const pare::Matrix<S>& statistics, pare::MatrixView<const S> dy,
                              pare::MatrixView<S> dx, const pare::Execution& execution) {
  const auto w = read(step.weight);
  const auto dw = gradient(step.weight), dbias = gradient(step.bias);
  if (std::holds_alternative<LinearLayer>(step.layer)) {
    linear_backward<S>(dy, x, w, dw, dbias, dx, execution);
  } else if (const auto* const layer = std::get_if<ConvolutionLayer>(&step.layer)) {
    convolution_backward<S>(settings_of(*layer, step.input), dy, x, w, dw, dbias, dx, execution);
  } else if (const auto* const norm = std::get_if<BatchNormLayer>(&step.layer)) {
    batch_norm_backward<S>(settings_of(*norm, step.input), mode == Mode::training, dy, x,
                           statistics, w, dw, dbias, dx, execution);
  } else if (dx.empty()) {
    return;
  } else if (const auto* const pool = std::get_if<PoolingLayer>(&step.layer)) {
    pooling_backward<S>(settings_of(*pool, step.input), dy, x, dx, execution);
  } else {
    execution.parallel_for(x.rows(), [&](Index t) {
      for (Index j = 0; j < x.cols(); ++j)
        dx(t, j) += dy(t, j) * activate<S>(engine::Activation::relu, x(t, j)).slope;
    });
  }
}

template <Scalar S>
void Sequential<S>::forward(pare::MatrixView<const S> x, Mode mode, SequentialPass<S>& pass,
                            const pare::Execution& execution) {
  if (x.rows() < 1 || x.cols() != input_.size())
    throw pare::ArgumentError("the network reads inputs of " + to_string(input_) + ", not " +
                              std::to_string(x.rows()) + " of " + std::to_string(x.cols()) +
                              " values");
  pass.mode = mode;
  pass.values.resize(steps_.size() + 1);
  pass.statistics.resize(steps_.size());
  pare::copy(x, shaped(pass.values[0], x.rows(), x.cols()));
  for (std::size_t i = 0; i < steps_.size(); ++i)
    step_forward(steps_[i], pass.values[i], mode, pass.statistics[i],
                 shaped(pass.values[i + 1], x.rows(), steps_[i].output.size()), execution);
}

template <Scalar S>
void Sequential<S>::backward(const SequentialPass<S>& pass, pare::MatrixView<const S> dlogits,
                             const pare::Execution& execution, pare::MatrixView<S> dx) {
  if (pass.values.size() != steps_.size() + 1 || dlogits.shape() != pass.logits().shape())
    throw pare::ArgumentError("gradients of the logits of " + pare::to_string(dlogits.shape()) +
                              " are of no pass of this network");
  pare::MatrixView<const S> dy = dlogits;
  for (std::size_t i = steps_.size(); i-- > 0;) {
    const pare::Matrix<S>& in = pass.values[i];
    const auto next = i == 0 ? dx : shaped(d_[i % 2], in.rows(), in.cols(), true);
    step_back(steps_[i], in, pass.mode, pass.statistics[i], dy, next, execution);
    dy = next;
  }
}

template class Sequential<float>;
template class Sequential<double>;
template class Sequential<Dual<double>>;

}  // namespace training
