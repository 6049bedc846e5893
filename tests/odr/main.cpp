#include <cmath>
#include <cstdio>

#include "exercise.hpp"

namespace {

/// Share of values that differ by more than float rounding in another order of summation.
double disagreement(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size() || a.empty()) return 1.0;
  std::size_t different = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    different += std::fabs(a[i] - b[i]) > 1e-4f * (1.0f + std::fabs(a[i]));
  return static_cast<double>(different) / static_cast<double>(a.size());
}

bool agrees(const char* what, const std::vector<float>& a, const std::vector<float>& b,
            double allowed) {
  const double share = disagreement(a, b);
  std::printf("%-16s %zu values, %.2f %% differ\n", what, a.size(), 100.0 * share);
  return share <= allowed;
}

}  // namespace

/// The units may round differently (one may fuse multiplication and addition), so a code on the
/// edge between two may flip: the products then differ in that row.
int main() {
  const Outcome a = first_unit();
  const Outcome b = second_unit();
  const double flips = a.dequantized == b.dequantized ? 0.0 : 1.0;
  const bool codes = agrees("dequantized", a.dequantized, b.dequantized, 0.001);
  const bool product = agrees("product", a.product, b.product, flips);
  const bool integer = agrees("integer product", a.integer_product, b.integer_product, flips);
  return codes && product && integer ? 0 : 1;
}
