#include <cmath>
#include <cstdio>
#include <vector>

#include "pare/formats/int.hpp"
#include "pare/quantization/quantize.hpp"

int main() {
  const std::vector<float> weights{0.1f, -0.7f, 0.35f, 1.4f, 0.0f, -2.1f};
  const auto q = pare::quantize<pare::Int<4>>({weights, {2, 3}});
  std::printf("%.2f bits per weight\n", q.bits_per_weight());
  return std::fabs(q.value(1, 2) + 2.1f) < 0.15f ? 0 : 1;
}
