#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pare/formats/any_quantized_matrix.hpp"
#include "training/network.hpp"
#include "training/optimizer.hpp"

namespace training {

/// A layer's weight that is rounded to codes on its way forward. The weight and the scales of its
/// groups are learned; zero points and the order of groups stay.
///
/// Source    Esser et al., "Learned step size quantization", 2020
class QuantizedLayer {
 public:
  QuantizedLayer() = default;
  QuantizedLayer(const QuantizedLayer&) = delete;
  QuantizedLayer& operator=(const QuantizedLayer&) = delete;
  virtual ~QuantizedLayer() = default;

  /// parameter.used = what the codes of parameter.value stand for, with scales as they are stored.
  virtual void round(Parameter<float>& parameter, const pare::Execution& execution) = 0;
  /// Turns the gradient with respect to what is used into that of the value, straight through where
  /// codes were not clipped, and of the scales.
  virtual void backward(Parameter<float>& parameter, const pare::Execution& execution) = 0;
  /// The scales, (rows, groups), to be trained.
  [[nodiscard]] virtual Trainable scales(const std::string& name, double rate_factor) = 0;
  /// After a step: a scale stays a positive number of its type.
  virtual void keep_scales_usable() = 0;
  /// What ships: its values are those that `round` gives, bit for bit.
  [[nodiscard]] virtual pare::AnyQuantizedMatrix finish(
      const Parameter<float>& parameter) const = 0;
};

/// Begins with the scales and zero points of a quantized matrix, of an integer format whose groups
/// divide the columns: throws pare::ArgumentError for others.
[[nodiscard]] std::unique_ptr<QuantizedLayer> make_quantized_layer(
    const pare::AnyQuantizedMatrix& begin);

/// The layers of a network that are quantized while they are trained.
class QuantizedWeights {
 public:
  void add(std::size_t parameter, const pare::AnyQuantizedMatrix& begin) {
    layers_.push_back({parameter, make_quantized_layer(begin)});
  }
  [[nodiscard]] bool empty() const noexcept { return layers_.empty(); }

  void round(Network<float>& model, const pare::Execution& execution) {
    for (Layer& layer : layers_) layer.codes->round(of(model, layer), execution);
  }
  void backward(Network<float>& model, const pare::Execution& execution) {
    for (Layer& layer : layers_) layer.codes->backward(of(model, layer), execution);
  }
  void keep_scales_usable() {
    for (Layer& layer : layers_) layer.codes->keep_scales_usable();
  }
  [[nodiscard]] std::vector<Trainable> scales(Network<float>& model, double rate_factor) {
    std::vector<Trainable> all;
    for (Layer& layer : layers_)
      all.push_back(layer.codes->scales(of(model, layer).name + ".scales", rate_factor));
    return all;
  }
  /// Calls use(name of the weight, what ships).
  template <class Use>
  void finish(const Network<float>& model, const Use& use) const {
    for (const Layer& layer : layers_) {
      const Parameter<float>& parameter = model.parameters()[layer.parameter];
      use(parameter.name, layer.codes->finish(parameter));
    }
  }

 private:
  struct Layer {
    std::size_t parameter;
    std::unique_ptr<QuantizedLayer> codes;
  };
  [[nodiscard]] static Parameter<float>& of(Network<float>& model, const Layer& layer) {
    return model.parameters()[layer.parameter];
  }
  std::vector<Layer> layers_;
};

}  // namespace training
