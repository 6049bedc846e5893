/// The program of README.md; scripts/bench.sh prints how long it takes to compile, and how long
/// where pare/pare.hpp is included instead.

#include <cstdio>
#include <pare/core/random.hpp>
#include <pare/kernels/matmul.hpp>
#include <pare/kernels/pack.hpp>
#include <pare/quantization/quantize.hpp>

int main() {
  pare::Random random(1);
  pare::Matrix<float> w({256, 512}), x({1, 512}), y({1, 256});
  for (pare::Index i = 0; i < w.size(); ++i) w.data()[i] = random.normal();
  for (pare::Index i = 0; i < x.size(); ++i) x.data()[i] = random.normal();
  const auto q = pare::quantize<pare::Int<4>>(w, {.group_size = 64});
  pare::matmul(x, pare::pack(q), y);  // y = x Wᵀ on the best kernel of this CPU
  std::printf("%.2f bits per weight, y[0] = %.2f\n", q.bits_per_weight(), y(0, 0));
}
