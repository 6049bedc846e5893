#include "cli/block_output_error.hpp"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "pare/core/random.hpp"

namespace cli {
namespace {

/// A model of this block alone: what training takes its parameters from.
engine::Model model_of(const engine::ModelConfig& config, const engine::Block& block) {
  engine::Model model;
  model.config = config;
  model.config.layers = 1;
  model.embedding = std::make_shared<engine::Embedding>();
  model.blocks.push_back(block);
  return model;
}

}  // namespace

void require_gradients(const engine::ModelConfig& config, const std::string& what_for) {
  const std::string cannot = what_for + " needs gradients of blocks, which there are none of for ";
  if (config.encoder)
    throw pare::ArgumentError(cannot + "encoders (" + config.family + "): use gptq or awq");
  for (Index b = 0; b < config.layers; ++b)
    if (config.block(b).experts)
      throw pare::ArgumentError(cannot + "mixtures of experts (" + config.block_prefix(b) +
                                "*): use gptq or awq");
}

BlockOutputError::BlockOutputError(const engine::ModelConfig& config, const engine::Block& block,
                                   const BlockWindows& windows, std::uint64_t seed,
                                   const pare::Execution& execution)
    : windows_(&windows),
      execution_(execution),
      model_(model_of(config, block)),
      trainer_(model_.config(), model_.parameters()),
      seed_(seed) {}

const std::vector<Index>& BlockOutputError::batch(Index iteration) {
  const Index all = windows_->inputs.rows() / windows_->length;
  const auto size = static_cast<std::size_t>(std::min(all, batch_windows));
  while (drawn_ < iteration) {
    ++drawn_;
    batch_.clear();
    while (batch_.size() < size) {
      if (left_.empty()) {
        left_.resize(static_cast<std::size_t>(all));
        std::iota(left_.begin(), left_.end(), 0);
        pare::Random random(seed_++);
        for (std::size_t k = left_.size(); k-- > 1;)
          std::swap(left_[k], left_[random.below(static_cast<std::uint32_t>(k) + 1)]);
      }
      batch_.push_back(left_.back());
      left_.pop_back();
    }
  }
  return batch_;
}

void BlockOutputError::use(std::span<const std::size_t> layers,
                           std::span<const pare::MatrixView<const float>> weights) {
  for (std::size_t k = 0; k < layers.size(); ++k) {
    auto& parameter = model_.parameters()[model_.blocks()[0].linears[layers[k]].weight];
    pare::copy(weights[k],
               training::shaped(parameter.used, parameter.value.rows(), parameter.value.cols()));
  }
}

double BlockOutputError::forward(std::span<const Index> chosen) {
  const Index length = windows_->length, cols = windows_->inputs.cols();
  const Index rows = std::ssize(chosen) * length;
  const auto x = training::shaped(x_, rows, cols), wanted = training::shaped(wanted_, rows, cols);
  for (std::size_t k = 0; k < chosen.size(); ++k) {
    const Index to = static_cast<Index>(k) * length, from = chosen[k] * length;
    pare::copy(windows_->inputs.slice(0, from, length), x.slice(0, to, length));
    pare::copy(windows_->outputs.slice(0, from, length), wanted.slice(0, to, length));
  }
  const auto y = training::shaped(y_, rows, cols), dy = training::shaped(dy_, rows, cols);
  trainer_.forward(model_.blocks()[0], x, length, state_, y, execution_);
  const auto scale = static_cast<float>(2.0 / static_cast<double>(y.size()));
  double sum = 0.0;
  for (Index k = 0; k < y.size(); ++k) {
    const float difference = y.data()[k] - wanted.data()[k];
    sum += static_cast<double>(difference) * static_cast<double>(difference);
    dy.data()[k] = scale * difference;
  }
  return sum;
}

double BlockOutputError::of_batch(Index iteration, std::span<const std::size_t> layers,
                                  std::span<const pare::MatrixView<const float>> weights,
                                  std::span<const pare::MatrixView<float>> gradients) {
  use(layers, weights);
  const double sum = forward(batch(iteration));
  model_.zero_gradients();
  trainer_.backward(model_.blocks()[0], x_, windows_->length, state_, dy_,
                    training::shaped(dx_, x_.rows(), x_.cols(), true), nullptr, execution_);
  for (std::size_t k = 0; k < layers.size(); ++k) {
    const auto& found = model_.parameters()[model_.blocks()[0].linears[layers[k]].weight].gradient;
    for (Index i = 0; i < found.rows(); ++i)
      for (Index j = 0; j < found.cols(); ++j) gradients[k](i, j) += found(i, j);
  }
  return sum / static_cast<double>(x_.size());
}

double BlockOutputError::of_all(std::span<const std::size_t> layers,
                                std::span<const pare::MatrixView<const float>> weights) {
  use(layers, weights);
  const Index all = windows_->inputs.rows() / windows_->length;
  double sum = 0.0;
  for (Index first = 0; first < all; first += batch_windows) {
    std::vector<Index> chosen(static_cast<std::size_t>(std::min(batch_windows, all - first)));
    std::iota(chosen.begin(), chosen.end(), first);
    sum += forward(chosen);
  }
  return sum / static_cast<double>(windows_->inputs.size());
}

}  // namespace cli
