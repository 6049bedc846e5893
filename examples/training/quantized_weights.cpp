#include "training/quantized_weights.hpp"

#include <algorithm>
#include <cmath>

#include "pare/core/error.hpp"
#include "pare/formats/scale.hpp"
#include "pare/quantization/fake_quantize.hpp"
#include "pare/quantization/learned_scale.hpp"
#include "training/shaped.hpp"

namespace training {
namespace {

template <pare::Format F>
class LayerOfFormat final : public QuantizedLayer {
 public:
  explicit LayerOfFormat(pare::QuantizedMatrix<F> begin)
      : quantized_(std::move(begin)),
        order_(quantized_.column_order()),
        scales_({quantized_.rows(), quantized_.groups()}),
        dscales_(scales_.shape()),
        stored_({scales_.size()}) {
    for (Index i = 0; i < scales_.rows(); ++i)
      for (Index g = 0; g < scales_.cols(); ++g)
        scales_(i, g) = quantized_.parameters()(i, g).scale;
  }

  void round(Parameter<float>& parameter, const pare::Execution& execution) override {
    shaped(parameter.used, parameter.value.rows(), parameter.value.cols());
    store_scales();
    if (order_.empty()) {
      pare::fake_quantize(grouped(parameter.value.data()), stored_, options,
                          grouped(parameter.used.data()), execution);
      return;
    }
    gather(parameter.value, values_, execution);
    pare::fake_quantize(grouped(values_.data()), stored_, options, grouped(values_.data()),
                        execution);
    scatter(values_, parameter.used, execution);
  }

  void backward(Parameter<float>& parameter, const pare::Execution& execution) override {
    const float factor = pare::learned_scale_factor(quantized_.group_length(), options);
    pare::Vector<double> sums({scales_.size()});
    if (order_.empty()) {
      pare::learned_scale_backward(grouped(parameter.value.data()), stored_, options, factor,
                                   grouped(parameter.gradient.data()),
                                   grouped(parameter.gradient.data()), sums, execution);
    } else {
      gather(parameter.value, values_, execution);
      gather(parameter.gradient, gradients_, execution);
      pare::learned_scale_backward(grouped(values_.data()), stored_, options, factor,
                                   grouped(gradients_.data()), grouped(gradients_.data()), sums,
                                   execution);
      scatter(gradients_, parameter.gradient, execution);
    }
    for (Index g = 0; g < sums.size(); ++g) dscales_.data()[g] = static_cast<float>(sums[g]);
  }

  [[nodiscard]] Trainable scales(const std::string& name, double rate_factor) override {
    return {name, scales_.span(), dscales_.span(), false, rate_factor};
  }

  void keep_scales_usable() override {
    constexpr float smallest_f16 = 0x1p-14f, largest_f16 = 65504.0f;
    for (float& scale : scales_.span()) scale = std::clamp(scale, smallest_f16, largest_f16);
  }

  [[nodiscard]] pare::AnyQuantizedMatrix finish(const Parameter<float>& parameter) const override {
    pare::QuantizedMatrix<F> q = quantized_;
    for (Index i = 0; i < q.rows(); ++i) {
      for (Index g = 0; g < q.groups(); ++g)
        q.parameters()(i, g).scale = pare::store_scale(scales_(i, g), q.scale_type());
      for (Index j = 0; j < q.cols(); ++j)
        q.codes()(i, j) = F::encode(parameter.value(i, j), q.parameters()(i, q.group_of(j)));
    }
    return q;
  }

 private:
  static constexpr pare::FakeQuantizeOptions options =
      pare::fake_quantize_options<F>(pare::QuotientPolicy::divide);

  /// Rows are groups.
  template <class T>
  [[nodiscard]] pare::MatrixView<T> grouped(T* data) const {
    return {data, {scales_.size(), quantized_.group_length()}};
  }
  void store_scales() {
    for (Index i = 0; i < scales_.rows(); ++i)
      for (Index g = 0; g < scales_.cols(); ++g)
        stored_[i * scales_.cols() + g] = {
            pare::store_scale(scales_(i, g), quantized_.scale_type()),
            F::zero_point(quantized_.parameters()(i, g))};
  }
  void gather(const pare::Matrix<float>& from, pare::Matrix<float>& to,
              const pare::Execution& execution) const {
    shaped(to, from.rows(), from.cols());
    execution.parallel_for(from.rows(), [&](Index i) {
      for (Index p = 0; p < from.cols(); ++p)
        to(i, p) = from(i, order_[static_cast<std::size_t>(p)]);
    });
  }
  void scatter(const pare::Matrix<float>& from, pare::Matrix<float>& to,
               const pare::Execution& execution) const {
    execution.parallel_for(from.rows(), [&](Index i) {
      for (Index p = 0; p < from.cols(); ++p)
        to(i, order_[static_cast<std::size_t>(p)]) = from(i, p);
    });
  }

  pare::QuantizedMatrix<F> quantized_;
  std::vector<std::int32_t> order_;
  pare::Matrix<float> scales_, dscales_;
  pare::Vector<pare::AffineParameters> stored_;
  pare::Matrix<float> values_, gradients_;  // in the order of groups
};

}  // namespace

std::unique_ptr<QuantizedLayer> make_quantized_layer(const pare::AnyQuantizedMatrix& begin) {
  return begin.visit(
      []<class F>(const pare::QuantizedMatrix<F>& q) -> std::unique_ptr<QuantizedLayer> {
        if constexpr (F::is_integer) {
          if (q.group_length() > 0 && q.cols() % q.group_length() != 0)
            throw pare::ArgumentError("groups of " + std::to_string(q.group_length()) +
                                      " do not divide the layer's " + std::to_string(q.cols()) +
                                      " columns: choose another group size to train with");
          if (!q.blocks().is_in_row())
            throw pare::ArgumentError("scales of blocks of several rows cannot be trained");
          return std::make_unique<LayerOfFormat<F>>(q);
        } else {
          throw pare::ArgumentError("the format " + std::string(F::name) +
                                    " cannot be trained; integer formats can");
        }
      });
}

}  // namespace training
