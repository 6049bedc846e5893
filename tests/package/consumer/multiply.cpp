#include <cstdio>

#include "pare/formats/int.hpp"
#include "pare/kernels/matmul.hpp"
#include "pare/kernels/pack.hpp"
#include "pare/quantization/quantize.hpp"

#if !defined(PARE_LINKS_COMPILED_KERNELS)
#error "linking pare::kernels does not say that it is linked"
#endif

int main() {
  pare::Matrix<float> w({40, 64}), x({3, 64}), floats({3, 40}), integers({3, 40});
  w.fill(0.5f);
  x.fill(2.0f);
  const auto packed = pare::pack(pare::quantize<pare::Int<4>>(w, {.group_size = 32}));
  pare::matmul(x, packed, floats);
  pare::matmul_dynamic(x, packed, integers);
  std::printf("%.2f %.2f\n", floats(2, 39), integers(2, 39));
  // 64 products of 2 and of the largest code, 7, at the scale 0.5 / 7.5.
  const auto near = [](float y) { return y > 59.6f && y < 59.9f; };
  return near(floats(2, 39)) && near(integers(2, 39)) ? 0 : 1;
}
