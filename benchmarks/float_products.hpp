#pragma once

#include <algorithm>
#include <array>

#include "eigen_product.hpp"
#include "pare/core/parallel_openmp.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/gemm.hpp"
#if defined(PARE_HAVE_OPENBLAS)
#include <cblas.h>
#endif

/// The float32 products that packed matmuls are measured against: y = x wᵀ.
struct FloatProduct {
  const char* name;
  void (*run)(const pare::Matrix<float>& x, const pare::Matrix<float>& w, pare::Matrix<float>& y,
              int threads);
};

/// Eigen has no threads for one token: the rows of w are shared out.
inline void run_eigen(const pare::Matrix<float>& x, const pare::Matrix<float>& w,
                      pare::Matrix<float>& y, int threads) {
  pare::OpenMpFor{threads}(threads, [&](pare::Index part) {
    const pare::Index begin = w.rows() * part / threads, end = w.rows() * (part + 1) / threads;
    eigen_product(x.data(), x.rows(), w.data() + begin * w.cols(), end - begin, w.cols(),
                  y.data() + begin, y.cols());
  });
}

inline void run_pare(const pare::Matrix<float>& x, const pare::Matrix<float>& w,
                     pare::Matrix<float>& y, int threads) {
  y.fill(0.0f);
  pare::gemm(1.0f, x, w.view().transposed(), y, {.parallel_for = pare::OpenMpFor(threads)});
}

#if defined(PARE_HAVE_OPENBLAS)
inline void run_openblas(const pare::Matrix<float>& x, const pare::Matrix<float>& w,
                         pare::Matrix<float>& y, int threads) {
  openblas_set_num_threads(threads);
  const auto tokens = static_cast<blasint>(x.rows());
  const auto out = static_cast<blasint>(w.rows()), in = static_cast<blasint>(w.cols());
  if (tokens == 1)
    cblas_sgemv(CblasRowMajor, CblasNoTrans, out, in, 1.0f, w.data(), in, x.data(), 1, 0.0f,
                y.data(), 1);
  else
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, tokens, out, in, 1.0f, x.data(), in,
                w.data(), in, 0.0f, y.data(), out);
}
#endif

inline constexpr std::array float_products {
  FloatProduct{"eigen", run_eigen},
#if defined(PARE_HAVE_OPENBLAS)
      FloatProduct{"openblas", run_openblas},
#endif
      FloatProduct{"pare", run_pare},
};
