#pragma once

#include "engine/block_description.hpp"
#include "training/operations/product.hpp"

namespace training {

/// The norms of engine/norm.hpp: parts of each row as long as `width`, all with one weight, or each
/// with its own where the weight is as long as a row.
///
///     rms     y = x r (w + o),         r = 1 / sqrt(mean(x^2) + epsilon)
///     layer   y = (x - m) r w + b,     r = 1 / sqrt(variance + epsilon)
template <Scalar S>
struct NormView {
  engine::NormDescription description;
  Index width = 0;
  pare::MatrixView<const S> weight, bias;  // (1, width) or (1, cols); the bias may be empty

  [[nodiscard]] S factor(Index column) const {
    const S w = weight(0, column % weight.cols());
    return description.kind == engine::NormDescription::Kind::rms_plus_one ? w + S{1} : w;
  }
  [[nodiscard]] bool centers() const noexcept {
    return description.kind == engine::NormDescription::Kind::layer;
  }
};

/// The mean that a part is centred with, and 1 / its size.
template <Scalar S>
struct PartStatistics {
  S mean{}, reciprocal{};
};

template <Scalar S>
[[nodiscard]] PartStatistics<S> statistics_of(const NormView<S>& norm, pare::MatrixView<const S> x,
                                              Index t, Index first) {
  using std::sqrt;
  const S* const row = &x(t, first);
  const auto count = static_cast<double>(norm.width);
  PartStatistics<S> part;
  if (norm.centers()) {
    for (Index j = 0; j < norm.width; ++j) part.mean += row[j];
    part.mean /= S(count);
  }
  S squares{};
  for (Index j = 0; j < norm.width; ++j) squares += (row[j] - part.mean) * (row[j] - part.mean);
  part.reciprocal = S{1} / sqrt(squares / S(count) + S(norm.description.epsilon));
  return part;
}

/// y = norm(x), rows contiguous; y may be x.
template <Scalar S>
void norm_forward(const NormView<S>& norm, pare::MatrixView<const S> x, pare::MatrixView<S> y,
                  const pare::Execution& execution) {
  execution.parallel_for(x.rows(), [&](Index t) {
    for (Index first = 0; first < x.cols(); first += norm.width) {
      const PartStatistics<S> part = statistics_of(norm, x, t, first);
      const S* const in = &x(t, first);
      S* const out = &y(t, first);
      for (Index j = 0; j < norm.width; ++j) {
        out[j] = (in[j] - part.mean) * part.reciprocal * norm.factor(first + j);
        if (!norm.bias.empty()) out[j] += norm.bias(0, (first + j) % norm.bias.cols());
      }
    }
  });
}

/// dx += J dy, dweight and dbias += their sums over tokens; x is what entered. dweight is empty
/// where nothing is learned; dx may not be dy.
template <Scalar S>
void norm_backward(const NormView<S>& norm, pare::MatrixView<const S> x,
                   pare::MatrixView<const S> dy, pare::MatrixView<S> dweight,
                   pare::MatrixView<S> dbias, pare::MatrixView<S> dx,
                   const pare::Execution& execution) {
  const Index parts = x.cols() / norm.width;
  pare::Matrix<PartStatistics<S>> statistics({x.rows(), parts});
  execution.parallel_for(x.rows(), [&](Index t) {
    for (Index p = 0; p < parts; ++p) {
      const Index first = p * norm.width;
      const PartStatistics<S> part = statistics(t, p) = statistics_of(norm, x, t, first);
      const S* const in = &x(t, first);
      const S* const up = &dy(t, first);
      S along{}, sum{};
      for (Index j = 0; j < norm.width; ++j) {
        const S g = up[j] * norm.factor(first + j);
        along += g * (in[j] - part.mean);
        if (norm.centers()) sum += g;
      }
      const auto count = S(static_cast<double>(norm.width));
      along *= part.reciprocal * part.reciprocal / count;
      sum /= count;
      S* const out = &dx(t, first);
      for (Index j = 0; j < norm.width; ++j)
        out[j] +=
            part.reciprocal * (up[j] * norm.factor(first + j) - sum - (in[j] - part.mean) * along);
    }
  });
  if (dweight.empty()) return;
  // A weight that parts share gathers them all.
  const Index shared = dweight.cols();
  execution.parallel_for(pare::ceil_div(shared, columns_of_a_task), [&](Index task) {
    const Index begin = task * columns_of_a_task;
    const Index end = std::min(shared, begin + columns_of_a_task);
    for (Index t = 0; t < x.rows(); ++t)
      for (Index first = 0; first < x.cols(); first += shared)
        for (Index j = begin; j < end; ++j) {
          const PartStatistics<S>& part = statistics(t, (first + j) / norm.width);
          const S up = dy(t, first + j);
          dweight(0, j) += up * (x(t, first + j) - part.mean) * part.reciprocal;
          if (!dbias.empty()) dbias(0, j) += up;
        }
  });
}

}  // namespace training
