#include "engine/norm.hpp"

#include "engine/elementwise.hpp"

namespace engine {
namespace {

void apply_to_row(const NormDescription& description, const float* x, const float* weight,
                  const float* bias, Index count, float* y) {
  switch (description.kind) {
    case NormDescription::Kind::rms:
      return rms_norm_row(x, weight, 0.0f, count, description.epsilon, y);
    case NormDescription::Kind::rms_plus_one:
      return rms_norm_row(x, weight, 1.0f, count, description.epsilon, y);
    case NormDescription::Kind::layer:
      return layer_norm_row(x, weight, bias, count, description.epsilon, y);
  }
}

}  // namespace

void apply_norm(const NormDescription& description, const Norm& norm,
                pare::MatrixView<const float> x, pare::MatrixView<float> y,
                const pare::Execution& execution) {
  const Index width = norm.weight.size();
  const float* const bias = norm.bias.empty() ? nullptr : norm.bias.data();
  execution.parallel_for(x.rows(), [&](Index t) {
    for (Index first = 0; first < x.cols(); first += width)
      apply_to_row(description, &x(t, first), norm.weight.data(), bias, width, &y(t, first));
  });
}

void apply_norm_of_heads(const NormDescription& description, const Norm& norm, Index width,
                         pare::MatrixView<float> x, const pare::Execution& execution) {
  execution.parallel_for(x.rows(), [&](Index t) {
    for (Index first = 0; first < x.cols(); first += width)
      apply_to_row(description, &x(t, first), norm.weight.data() + first,
                   norm.bias.empty() ? nullptr : norm.bias.data() + first, width, &x(t, first));
  });
}

}  // namespace engine
