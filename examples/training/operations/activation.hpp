#pragma once

#include <cmath>

#include "engine/block_description.hpp"
#include "training/operations/product.hpp"

namespace training {

/// f(x) and f'(x).
template <Scalar S>
struct Activated {
  S value{}, slope{};
};

/// See engine::Activation.
template <Scalar S>
[[nodiscard]] Activated<S> activate(engine::Activation activation, S x) {
  using std::erf;
  using std::exp;
  using std::tanh;
  switch (activation) {
    case engine::Activation::silu: {
      const S sigmoid = S{1} / (S{1} + exp(-x));
      return {x * sigmoid, sigmoid * (S{1} + x * (S{1} - sigmoid))};
    }
    case engine::Activation::gelu: {
      const S phi = S(0.5) * (S{1} + erf(x * S(0.70710678118654752)));
      const S density = S(0.39894228040143268) * exp(S(-0.5) * x * x);
      return {x * phi, phi + x * density};
    }
    case engine::Activation::gelu_tanh: {
      constexpr double root = 0.79788456080286536, cubic = 0.044715;
      const S t = tanh(S(root) * (x + S(cubic) * x * x * x));
      const S inner = S(root) * (S{1} + S(3 * cubic) * x * x);
      return {S(0.5) * x * (S{1} + t), S(0.5) * (S{1} + t) + S(0.5) * x * (S{1} - t * t) * inner};
    }
    case engine::Activation::relu:
      return x > S{0} ? Activated<S>{x, S{1}} : Activated<S>{};
    case engine::Activation::tanh: {
      const S t = tanh(x);
      return {t, S{1} - t * t};
    }
  }
  return {};
}

/// hidden = f(gate) * up, or f(up) where gate is empty; rows contiguous.
template <Scalar S>
void feed_forward(engine::Activation activation, pare::MatrixView<const S> gate,
                  pare::MatrixView<const S> up, pare::MatrixView<S> hidden,
                  const pare::Execution& execution) {
  execution.parallel_for(hidden.rows(), [&](Index t) {
    for (Index j = 0; j < hidden.cols(); ++j)
      hidden(t, j) = gate.empty() ? activate<S>(activation, up(t, j)).value
                                  : activate<S>(activation, gate(t, j)).value * up(t, j);
  });
}

/// Gradients of gate (where there is one) and up, replaced; dhidden may be dup.
template <Scalar S>
void feed_forward_backward(engine::Activation activation, pare::MatrixView<const S> gate,
                           pare::MatrixView<const S> up, pare::MatrixView<const S> dhidden,
                           pare::MatrixView<S> dgate, pare::MatrixView<S> dup,
                           const pare::Execution& execution) {
  execution.parallel_for(dhidden.rows(), [&](Index t) {
    for (Index j = 0; j < dhidden.cols(); ++j) {
      const S upstream = dhidden(t, j);
      if (gate.empty()) {
        dup(t, j) = upstream * activate<S>(activation, up(t, j)).slope;
        continue;
      }
      const Activated<S> activated = activate<S>(activation, gate(t, j));
      dgate(t, j) = upstream * up(t, j) * activated.slope;
      dup(t, j) = upstream * activated.value;
    }
  });
}

}  // namespace training
