/// What a consumer of all formats compiles; scripts/bench.sh prints how long it takes.

#include "pare/formats/all.hpp"
#include "pare/kernels/any_packed_matrix.hpp"
#include "pare/kernels/matmul.hpp"

void multiply(pare::MatrixView<const float> x, const pare::QuantizedActivations& quantized,
              const pare::AnyPackedMatrix& w, pare::MatrixView<float> y) {
  pare::matmul(x, w, y);
  pare::matmul(quantized, w, y);
}
