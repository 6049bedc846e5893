#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "training/dual.hpp"
#include "training/parameter.hpp"

namespace training {

/// What learns: parameters by name, and which of them are the weights of layers.
template <Scalar S>
class Network {
 public:
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  [[nodiscard]] std::vector<Parameter<S>>& parameters() noexcept { return parameters_; }
  [[nodiscard]] const std::vector<Parameter<S>>& parameters() const noexcept { return parameters_; }
  /// Parameters that are weights of layers, by their number: what is quantized and pruned.
  [[nodiscard]] const std::vector<std::size_t>& layers() const noexcept { return layers_; }

  void zero_gradients() {
    for (Parameter<S>& parameter : parameters_) parameter.gradient.fill(S{});
  }

 protected:
  Network() = default;
  ~Network() = default;

  std::size_t add(std::string name, pare::Matrix<S> value, bool decays) {
    parameters_.emplace_back(std::move(name), std::move(value), decays);
    return parameters_.size() - 1;
  }

  std::vector<Parameter<S>> parameters_;
  std::vector<std::size_t> layers_;
};

}  // namespace training
