#include "engine/linear.hpp"

#include <algorithm>

#include "engine/elementwise.hpp"
#include "pare/kernels/describe.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/kernels/matmul.hpp"

namespace engine {
namespace {

/// Up to this many tokens wait for memory: rearranging the weight, as gemm does, would take longer.
constexpr Index few_tokens = 4;

void forward_dense(pare::MatrixView<const float> x, const LinearOutput& output,
                   const pare::Execution& execution) {
  const auto& [layer, y, accumulate] = output;
  const auto& bias = layer.bias();
  execution.parallel_for(y.rows(), [&](Index t) {
    if (!accumulate) std::fill_n(&y(t, 0), y.cols(), 0.0f);
    if (!bias.empty())
      for (Index n = 0; n < y.cols(); ++n) y(t, n) += bias[n];
  });
  multiply_dense(x, layer.dense(), y, execution);
}

}  // namespace

Linear::Linear() = default;
Linear::Linear(const Linear&) = default;
Linear::Linear(Linear&&) noexcept = default;
Linear& Linear::operator=(const Linear&) = default;
Linear& Linear::operator=(Linear&&) noexcept = default;
Linear::~Linear() = default;

Linear::Linear(pare::Matrix<float> weight) : dense_(std::move(weight)) {}

Linear::Linear(pare::AnyPackedMatrix weight, std::optional<pare::ActivationOptions> activations)
    : packed_(std::move(weight)), activations_(activations) {}

Linear::Linear(const pare::AnyQuantizedMatrix& weight,
               std::optional<pare::ActivationOptions> activations, const pare::Execution& execution)
    : Linear(pare::pack(weight, execution), activations) {}

Index Linear::out_features() const { return packed_ ? packed_->rows() : dense_.rows(); }
Index Linear::in_features() const { return packed_ ? packed_->cols() : dense_.cols(); }

void Linear::replace(const pare::AnyQuantizedMatrix& weight,
                     std::optional<pare::ActivationOptions> activations) {
  packed_ = pare::pack(weight);
  activations_ = activations;
  dense_ = {};
}

std::string Linear::describe(Index tokens, const pare::Execution& execution) const {
  if (!packed_) return "float32 gemm";
  return pare::describe(*packed_, tokens, execution,
                        activations_ ? pare::ActivationType::int8 : pare::ActivationType::float32);
}

std::span<const std::byte> Linear::memory() const {
  if (packed_) return packed_->streamed();
  return std::as_bytes(std::span(dense_.data(), static_cast<std::size_t>(dense_.size())));
}

pare::Matrix<float> Linear::forward(pare::MatrixView<const float> x,
                                    const pare::Execution& execution) const {
  pare::Matrix<float> y({x.rows(), out_features()});
  engine::forward(x, {{*this, y}}, execution);
  return y;
}

void multiply_dense(pare::MatrixView<const float> x, pare::MatrixView<const float> w,
                    pare::MatrixView<float> y, const pare::Execution& execution) {
  if (x.rows() > few_tokens) return pare::gemm(1.0f, x, w.transposed(), y, execution);
  const Index block = pare::ceil_div(pare::parallel_grain, x.rows() * x.cols());
  execution.parallel_for(pare::ceil_div(w.rows(), block), [&](Index index) {
    const Index end = std::min(w.rows(), (index + 1) * block);
    for (Index n = index * block; n < end; n += 4)  // so many rows stay in a cache for all tokens
      for (Index t = 0; t < x.rows(); ++t)
        add_dot_products(&x(t, 0), &w(n, 0), w.stride(0), std::min<Index>(4, end - n), x.cols(),
                         &y(t, n));
  });
}

void forward(pare::MatrixView<const float> x, std::span<const LinearOutput> outputs,
             const pare::Execution& execution) {
  std::vector<pare::MatmulOutput> products;
  products.reserve(outputs.size());
  for (auto output = outputs.begin(); output != outputs.end();) {
    if (!output->layer.is_packed()) {
      forward_dense(x, *output++, execution);
      continue;
    }
    const auto& activations = output->layer.activations();
    products.clear();
    for (; output != outputs.end(); ++output) {
      const Linear& layer = output->layer;
      if (!layer.is_packed() || layer.activations() != activations) break;
      products.emplace_back(
          *layer.packed(), output->y,
          pare::OutputOptions{.bias = layer.bias(), .accumulate = output->accumulate});
    }
    if (activations)
      pare::matmul_dynamic(x, products, *activations, execution);
    else
      pare::matmul(x, products, execution);
  }
}

}  // namespace engine
