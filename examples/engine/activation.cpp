#include "engine/activation.hpp"

#include "engine/elementwise.hpp"

namespace engine {

void apply_activation(Activation activation, float* x, Index count) {
  switch (activation) {
    case Activation::silu:
      return silu(x, count);
    case Activation::gelu:
      return gelu(x, count);
    case Activation::gelu_tanh:
      return gelu_tanh(x, count);
    case Activation::relu:
      return relu(x, count);
    case Activation::tanh:
      return soft_cap(x, 1.0f, count);
  }
}

void apply_gate(Activation activation, float* gate, const float* up, Index count) {
  if (activation == Activation::silu) return silu_multiply(gate, up, count);
  apply_activation(activation, gate, count);
  multiply(up, gate, count);
}

}  // namespace engine
