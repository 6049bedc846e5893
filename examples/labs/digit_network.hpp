#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pare/formats/mask.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/pruning/scores/fisher.hpp"
#include "training/labelled_batches.hpp"
#include "training/operations/cross_entropy.hpp"
#include "training/optimizer.hpp"
#include "training/sequential.hpp"

namespace lab {

template <class S>
using Network = training::Sequential<S>;
using pare::Index;

inline constexpr Index digits = 10;

/// A convolutional network for digits of 8 x 8, new from a seed.
template <training::Scalar S>
[[nodiscard]] Network<S> digit_network(std::uint64_t seed) {
  using namespace training;
  const Windows three{.size = {3, 3}, .padding = {1, 1}}, half{.size = {2, 2}, .stride = {2, 2}};
  return Network<S>({1, 8, 8},
                    {ConvolutionLayer{16, three, 1, false}, BatchNormLayer{}, ReluLayer{},
                     PoolingLayer{Pooling::maximum, half}, ConvolutionLayer{32, three, 1, false},
                     BatchNormLayer{}, ReluLayer{}, PoolingLayer{Pooling::average, half},
                     FlattenLayer{}, LinearLayer{digits}},
                    seed);
}

/// Of linear layers and convolutions.
[[nodiscard]] inline Index weights_of(const Network<float>& network) {
  Index count = 0;
  for (const std::size_t p : network.layers()) count += network.parameters()[p].value.size();
  return count;
}

/// The images of a file of the demo digits, and what they show.
struct Digits {
  engine::ModelInputs inputs;
  std::vector<std::int64_t> labels;

  explicit Digits(const std::string& name) {
    const auto file = pare::SafetensorsReader::open(
        std::filesystem::path(PARE_DEMO_MODEL_DIR).parent_path() / "demo-digits" / name);
    const auto pixels = file.read_as<float>("pixel_values");
    inputs.length = 1;
    inputs.pixels = pare::Matrix<float>({std::ssize(pixels) / 64, 64});
    std::copy(pixels.begin(), pixels.end(), inputs.pixels.begin());
    labels = file.read_as<std::int64_t>("labels");
  }
};

/// Adds the gradient of the mean cross entropy of images, of logits divided by a temperature.
template <training::Scalar S>
void add_gradients(Network<S>& network, const pare::Matrix<float>& images,
                   const std::vector<std::int64_t>& labels, double temperature,
                   const pare::Execution& execution) {
  pare::Matrix<S> x(images.shape());
  for (Index i = 0; i < x.size(); ++i)
    x.data()[i] = training::scalar<S>(static_cast<double>(images.data()[i]));
  training::SequentialPass<S> pass;
  network.forward(x, training::Mode::training, pass, execution);
  pare::Matrix<S> logits(pass.logits()), dlogits(logits.shape());
  for (S& logit : logits) logit *= training::scalar<S>(1.0 / temperature);
  (void)training::cross_entropy<S>(logits, std::vector<std::int32_t>(labels.begin(), labels.end()),
                                   dlogits.view(), 1.0 / temperature, execution);
  network.backward(pass, dlogits, execution);
}

/// Of each layer of `network`, on all images, for scores before training.
[[nodiscard]] inline std::vector<pare::Matrix<float>> gradients(const Network<float>& network,
                                                                const Digits& images,
                                                                const pare::Execution& execution) {
  Network<float> own = digit_network<float>(0);
  own.set_values(network);
  add_gradients(own, images.inputs.pixels, images.labels, 1.0, execution);
  std::vector<pare::Matrix<float>> all;
  for (const std::size_t p : own.layers()) all.push_back(own.parameters()[p].gradient);
  return all;
}

/// H g of the softened loss of GraSP: the derivative of the gradient along itself.
[[nodiscard]] inline std::vector<pare::Matrix<float>> hessian_gradients(
    const Network<float>& network, const Digits& images, const pare::Execution& execution) {
  constexpr double temperature = 200.0;
  Network<double> real = digit_network<double>(0);
  real.set_values(network);
  add_gradients(real, images.inputs.pixels, images.labels, temperature, execution);
  Network<training::Dual<double>> dual = digit_network<training::Dual<double>>(0);
  dual.set_values(network);
  for (const std::size_t p : real.layers())
    for (Index i = 0; i < real.parameters()[p].value.size(); ++i)
      dual.parameters()[p].value.data()[i].tangent = real.parameters()[p].gradient.data()[i];
  add_gradients(dual, images.inputs.pixels, images.labels, temperature, execution);
  std::vector<pare::Matrix<float>> all;
  for (const std::size_t p : dual.layers()) {
    const auto& gradient = dual.parameters()[p].gradient;
    pare::Matrix<float>& own = all.emplace_back(gradient.shape());
    for (Index i = 0; i < own.size(); ++i)
      own.data()[i] = static_cast<float>(gradient.data()[i].tangent);
  }
  return all;
}

/// The mean over images of the squared gradient of each.
[[nodiscard]] inline std::vector<pare::Matrix<float>> squared_gradients(
    const Network<float>& network, const Digits& images, const pare::Execution& execution) {
  Network<float> own = digit_network<float>(0);
  own.set_values(network);
  std::vector<pare::FisherDiagonal> squares;
  for (const std::size_t p : own.layers()) squares.emplace_back(own.parameters()[p].value.shape());
  for (Index i = 0; i < images.inputs.pixels.rows(); ++i) {
    // An image has no statistics of its own: norms use those that were learned.
    training::SequentialPass<float> pass;
    own.forward(images.inputs.pixels.view().slice(0, i, 1), training::Mode::evaluation, pass,
                execution);
    pare::Matrix<float> dlogits(pass.logits().shape());
    const auto label = static_cast<std::int32_t>(images.labels[static_cast<std::size_t>(i)]);
    (void)training::cross_entropy<float>(pass.logits(), {&label, 1}, dlogits.view(), 1.0,
                                         execution);
    own.zero_gradients();
    own.backward(pass, dlogits, execution);
    for (std::size_t l = 0; l < squares.size(); ++l)
      squares[l].add(own.parameters()[own.layers()[l]].gradient, execution);
  }
  std::vector<pare::Matrix<float>> all;
  for (const auto& square : squares) all.push_back(square.mean());
  return all;
}

/// What SynFlow asks for: the gradient, of the layers whose weights are `magnitudes`, of the sum of
/// what comes out of the network of magnitudes for an input of ones.
[[nodiscard]] inline std::vector<pare::Matrix<double>> flow_gradients(
    const Network<float>& network, std::span<const pare::Matrix<double>> magnitudes) {
  Network<double> own = digit_network<double>(0);
  own.set_values(network);
  for (auto& parameter : own.parameters())
    for (double& w : parameter.value) w = std::fabs(w);
  for (std::size_t l = 0; l < magnitudes.size(); ++l)
    own.parameters()[own.layers()[l]].value = magnitudes[l];
  pare::Matrix<double> ones({1, own.input().size()}), sum({1, digits});
  ones.fill(1.0);
  sum.fill(1.0);
  training::SequentialPass<double> pass;
  own.forward(ones, training::Mode::evaluation, pass, {});
  own.zero_gradients();
  own.backward(pass, sum, {});
  std::vector<pare::Matrix<double>> gradients;
  for (const std::size_t p : own.layers()) gradients.push_back(own.parameters()[p].gradient);
  return gradients;
}

/// Trains what masks, one for each layer or none, leave of a network.
inline void train(Network<float>& network, const std::vector<pare::Mask>& masks,
                  const Digits& images, std::int64_t steps, std::uint64_t seed,
                  const pare::Execution& execution) {
  const auto optimizer = training::make_sgd();
  std::vector<training::Trainable> trainables;
  for (auto& p : network.parameters())
    trainables.push_back({p.name, p.value.span(), p.gradient.span(), p.decays});
  const auto apply = [&](auto member) {
    for (std::size_t l = 0; l < masks.size(); ++l)
      masks[l].apply(network.parameters()[network.layers()[l]].*member);
  };
  apply(&training::Parameter<float>::value);
  const training::LabelledBatches batches(images.inputs, images.labels, digits, 32, 77 * seed + 1);
  for (std::int64_t step = 0; step < steps; ++step) {
    const training::LabelledBatch batch = batches.at(step);
    network.zero_gradients();
    add_gradients(network, batch.inputs.pixels, batch.labels, 1.0, execution);
    apply(&training::Parameter<float>::gradient);
    optimizer->step(trainables, step, 0.1, 1.0, execution);
    apply(&training::Parameter<float>::value);
  }
}

/// The share of images that are read.
[[nodiscard]] inline double accuracy(Network<float>& network, const Digits& images,
                                     const pare::Execution& execution) {
  training::SequentialPass<float> pass;
  network.forward(images.inputs.pixels, training::Mode::evaluation, pass, execution);
  Index right = 0;
  for (Index i = 0; i < pass.logits().rows(); ++i) {
    const float* const row = &pass.logits()(i, 0);
    right +=
        std::max_element(row, row + digits) - row == images.labels[static_cast<std::size_t>(i)];
  }
  return static_cast<double>(right) / static_cast<double>(pass.logits().rows());
}

}  // namespace lab
