/// What a consumer of one format compiles; scripts/bench.sh prints how long it takes.

#include "pare/formats/int.hpp"
#include "pare/kernels/matmul.hpp"

void multiply(pare::MatrixView<const float> x, const pare::QuantizedActivations& quantized,
              const pare::PackedMatrix<pare::Int<4>>& w, pare::MatrixView<float> y) {
  pare::matmul(x, w, y);
  pare::matmul(quantized, w, y);
}
