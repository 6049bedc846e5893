#include "pare/kernels.hpp"

using namespace pare;

namespace {

template <Format F>
void run(MatrixView<const float> x, const PackedMatrix<F>& w, MatrixView<float> y) {
  matmul(x, w, y);
  matmul_dynamic(x, w, y);
}

}  // namespace

/// Instantiates every family of kernels, for codes of one plane, two, and a codebook.
void run_kernels(MatrixView<const float> x, const PackedMatrix<Int<4>>& w4,
                 const PackedMatrix<UInt<8>>& w8, const PackedMatrix<UInt<3>>& w3,
                 const PackedMatrix<NF4>& nf4, MatrixView<float> y) {
  run(x, w4, y);
  run(x, w8, y);
  run(x, w3, y);
  run(x, nf4, y);
  gemm(1.0f, x, x, y);
}
