#pragma once

#include <cmath>

#include "engine/rope_parameters.hpp"
#include "training/operations/product.hpp"

namespace training {

/// Sines and cosines of a rotation for positions 0, 1, ... of a sequence: see
/// engine::RopeParameters.
template <Scalar S>
class RopeTable {
 public:
  RopeTable() = default;
  RopeTable(const engine::RopeParameters& parameters, Index length)
      : half_(parameters.rotated / 2),
        neighbours_(parameters.neighbours),
        cosines_({length, half_}),
        sines_({length, half_}) {
    const pare::Vector<float> frequencies = parameters.frequencies(length);
    for (Index t = 0; t < length; ++t)
      for (Index i = 0; i < half_; ++i) {
        // In float, as the engine has it: the angle is part of what the model computes.
        const float angle = static_cast<float>(t) * frequencies[i];
        cosines_(t, i) = S(parameters.magnitude * std::cos(angle));
        sines_(t, i) = S(parameters.magnitude * std::sin(angle));
      }
  }

  [[nodiscard]] Index length() const noexcept { return cosines_.rows(); }

  /// Turns every head of x (sequences * length, heads * head_dim), in place; a gradient is turned
  /// back, by the transpose.
  void turn(pare::MatrixView<S> x, Index head_dim, bool back,
            const pare::Execution& execution) const {
    const Index step = neighbours_ ? 2 : 1, distance = neighbours_ ? 1 : half_;
    execution.parallel_for(x.rows(), [&](Index t) {
      const Index position = t % length();
      for (Index head = 0; head < x.cols(); head += head_dim) {
        S* const first = &x(t, head);
        for (Index i = 0; i < half_; ++i) {
          S& a = first[step * i];
          S& b = first[step * i + distance];
          const S c = cosines_(position, i);
          const S s = back ? -sines_(position, i) : sines_(position, i);
          const S turned = a * c - b * s;
          b = b * c + a * s;
          a = turned;
        }
      }
    });
  }

 private:
  Index half_ = 0;
  bool neighbours_ = false;
  pare::Matrix<S> cosines_, sines_;
};

}  // namespace training
