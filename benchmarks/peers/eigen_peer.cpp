/// Eigen in float32, compiled with -march=native as its documentation advises.

#include <omp.h>

#include <Eigen/Core>

#include "float_product.hpp"

namespace {

using Dense = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Aligned = Eigen::Map<const Dense, Eigen::Aligned64>;

class EigenProduct : public peer::FloatProduct {
 public:
  explicit EigenProduct(const peer::Request& request) : FloatProduct(request) {
    omp_set_num_threads(request.threads);
    Eigen::setNbThreads(request.threads);
  }

  void run(int copy) override {
    if (request().tokens == 1) return run_row(copy);
    const Aligned w(weights(copy), request().out, request().in);
    const Aligned rows(x(), request().tokens, request().in);
    Eigen::Map<Dense, Eigen::Aligned64>(y(), request().tokens, request().out).noalias() =
        rows * w.transpose();
  }

 private:
  /// Eigen has no threads for one token: the rows of w are shared out.
  void run_row(int copy) {
    const std::ptrdiff_t out = request().out, in = request().in, threads = request().threads;
    const Eigen::Map<const Eigen::VectorXf, Eigen::Aligned64> row(x(), in);
#pragma omp parallel for schedule(static, 1)
    for (std::ptrdiff_t part = 0; part < threads; ++part) {
      const std::ptrdiff_t begin = out * part / threads, end = out * (part + 1) / threads;
      const Eigen::Map<const Dense> w(weights(copy) + begin * in, end - begin, in);
      Eigen::Map<Eigen::VectorXf>(y() + begin, end - begin).noalias() = w * row;
    }
  }
};

std::string version() {
  return std::to_string(EIGEN_WORLD_VERSION) + '.' + std::to_string(EIGEN_MAJOR_VERSION) + '.' +
         std::to_string(EIGEN_MINOR_VERSION);
}

}  // namespace

int main() {
  return peer::serve("eigen", version(), [](const peer::Request& request) {
    return std::make_unique<EigenProduct>(request);
  });
}
