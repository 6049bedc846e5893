#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/random.hpp"
#include "training/network.hpp"
#include "training/operations/batch_norm.hpp"
#include "training/operations/convolution.hpp"
#include "training/operations/pooling.hpp"

namespace training {

/// Layers of a network, as PyTorch's. Those that have a bias begin with random weights and biases.
struct LinearLayer {
  Index features = 0;  ///< that come out
  bool bias = true;
};
struct ConvolutionLayer {
  Index channels = 0;  ///< that come out
  Windows windows{};
  Index groups = 1;
  bool bias = true;
};
struct BatchNormLayer {
  double epsilon = 1e-5, momentum = 0.1;
};
struct PoolingLayer {
  Pooling kind = Pooling::maximum;
  Windows windows{};
};
/// Channels, rows and columns become features, in this order.
struct FlattenLayer {};
struct ReluLayer {};

using SequentialLayer = std::variant<LinearLayer, ConvolutionLayer, BatchNormLayer, PoolingLayer,
                                     FlattenLayer, ReluLayer>;

/// What batch norms take their statistics from.
enum class Mode : std::uint8_t {
  training,    ///< the batch, towards which running statistics move
  evaluation,  ///< running statistics
};

/// What a network has computed for a batch, and the way back needs. Memory that a former batch of
/// the same shape has left is used again.
template <Scalar S>
struct SequentialPass {
  Mode mode = Mode::training;
  /// What enters the first layer, then what leaves each that computes something: (batch, features).
  std::vector<pare::Matrix<S>> values;
  std::vector<pare::Matrix<S>> statistics;  ///< of batch norms, by layer

  [[nodiscard]] const pare::Matrix<S>& logits() const { return values.back(); }
};

/// A network whose layers follow one another, for images or features.
///
///     Sequential<float> network({1, 8, 8},
///                               {ConvolutionLayer{16, {.size = {3, 3}, .padding = {1, 1}}},
///                                BatchNormLayer{}, ReluLayer{}, FlattenLayer{}, LinearLayer{10}},
///                               seed);
///     SequentialPass<float> pass;
///     network.forward(images, Mode::training, pass, execution);  // pass.logits()
///     network.zero_gradients();
///     network.backward(pass, dlogits, execution);  // adds to network.parameters()[i].gradient
///
/// Parameters have the names that PyTorch gives them, "0.weight", and its first values: weights and
/// biases uniform within 1 / sqrt(inputs of an output), norms 1 and 0. A seed gives the same for
/// every kind of number. `layers()` are the weights of linear layers and convolutions.
template <Scalar S>
class Sequential : public Network<S> {
 public:
  /// Errors    pare::ArgumentError naming a layer, from 0, that does not fit what enters it
  Sequential(const ImageShape& input, const std::vector<SequentialLayer>& layers,
             std::uint64_t seed);

  [[nodiscard]] const ImageShape& input() const noexcept { return input_; }
  [[nodiscard]] const ImageShape& output() const noexcept { return output_; }

  /// Running statistics of batch norms: means, and below them variances.
  struct Running {
    std::string layer;  ///< "1"
    pare::Matrix<S> value;
  };
  [[nodiscard]] std::vector<Running>& running() noexcept { return running_; }
  [[nodiscard]] const std::vector<Running>& running() const noexcept { return running_; }

  /// The values, what operations read in their place, and running statistics of a network with the
  /// same layers: of another kind of number, perhaps. Throws pare::ShapeError for other layers.
  template <Scalar T>
  void set_values(const Sequential<T>& other) {
    require_alike(other.parameters().size(), other.running().size());
    for (std::size_t p = 0; p < this->parameters_.size(); ++p) {
      Parameter<S>& own = this->parameters_[p];
      convert(other.parameters()[p].value, own.value, own.name);
      if (other.parameters()[p].used.empty()) {
        own.used = {};
      } else {
        own.used = pare::Matrix<S>(own.value.shape());
        convert(other.parameters()[p].used, own.used, own.name);
      }
    }
    for (std::size_t i = 0; i < running_.size(); ++i)
      convert(other.running()[i].value, running_[i].value, running_[i].layer);
  }

  /// Errors    pare::ArgumentError for no inputs, inputs of another size, and a batch that batch
  ///           norms cannot take statistics of
  void forward(pare::MatrixView<const S> x, Mode mode, SequentialPass<S>& pass,
               const pare::Execution& execution);
  /// Adds gradients to those of the parameters: with respect to what operations read. dx += that of
  /// the inputs, unless it is empty.
  void backward(const SequentialPass<S>& pass, pare::MatrixView<const S> dlogits,
                const pare::Execution& execution, pare::MatrixView<S> dx = {});

 private:
  /// A layer that computes something.
  struct Step {
    SequentialLayer layer;
    ImageShape input, output;
    std::optional<std::size_t> weight, bias, running;
  };

  void add_step(std::size_t number, const SequentialLayer& layer, pare::Random& random);
  void add_weights(Step& step, const std::string& name, pare::Shape<2> shape, bool bias,
                   pare::Random& random);
  void require_alike(std::size_t parameters, std::size_t norms) const;
  template <Scalar T>
  static void convert(const pare::Matrix<T>& from, pare::Matrix<S>& to, const std::string& name) {
    if (from.shape() != to.shape())
      throw pare::ShapeError(name + " has the shape " + pare::to_string(to.shape()) +
                             ", in the other network " + pare::to_string(from.shape()));
    for (Index i = 0; i < from.size(); ++i) to.data()[i] = scalar<S>(value_of(from.data()[i]));
  }
  [[nodiscard]] pare::MatrixView<const S> read(std::optional<std::size_t> parameter) const {
    return parameter ? this->parameters_[*parameter].read() : pare::MatrixView<const S>();
  }
  [[nodiscard]] pare::MatrixView<S> gradient(std::optional<std::size_t> parameter) {
    return parameter ? this->parameters_[*parameter].gradient.view() : pare::MatrixView<S>();
  }
  void step_forward(const Step& step, pare::MatrixView<const S> x, Mode mode,
                    pare::Matrix<S>& statistics, pare::MatrixView<S> y,
                    const pare::Execution& execution);
  void step_back(const Step& step, pare::MatrixView<const S> x, Mode mode,
                 const pare::Matrix<S>& statistics, pare::MatrixView<const S> dy,
                 pare::MatrixView<S> dx, const pare::Execution& execution);

  ImageShape input_, output_;
  std::vector<Step> steps_;
  std::vector<Running> running_;
  pare::Matrix<S> d_[2];
};

extern template class Sequential<float>;
extern template class Sequential<double>;
extern template class Sequential<Dual<double>>;

}  // namespace training
