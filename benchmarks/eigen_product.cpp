#include "eigen_product.hpp"

#include <Eigen/Core>

void eigen_product(const float* x, std::ptrdiff_t tokens, const float* w, std::ptrdiff_t out,
                   std::ptrdiff_t in, float* y, std::ptrdiff_t y_stride) {
  using Dense = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Map<const Dense> weights(w, out, in);
  if (tokens == 1) {
    Eigen::Map<Eigen::VectorXf>(y, out).noalias() =
        weights * Eigen::Map<const Eigen::VectorXf>(x, in);
    return;
  }
  Eigen::Map<Dense, Eigen::Unaligned, Eigen::OuterStride<>> result(y, tokens, out, {y_stride});
  result.noalias() = Eigen::Map<const Dense>(x, tokens, in) * weights.transpose();
}
