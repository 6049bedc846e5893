// Compiled as first_unit or second_unit, with different flags.
#include "exercise.hpp"

#include "pare/core/eigen.hpp"
#include "pare/core/parallel_openmp.hpp"
#include "pare/fwd.hpp"
#include "pare/pare.hpp"

// A second time changes nothing.
#include "pare/pare.hpp"

Outcome PARE_ODR_UNIT() {
  const auto values = [](pare::MatrixView<const float> m) {
    return std::vector<float>(m.data(), m.data() + m.size());
  };
  constexpr pare::Index rows = 50, cols = 130, tokens = 40;
  pare::Random random(7);
  pare::Matrix<float> w({rows, cols}), x({tokens, cols}), y({tokens, rows});
  for (pare::Index i = 0; i < w.size(); ++i) w.data()[i] = random.normal();
  for (pare::Index i = 0; i < x.size(); ++i) x.data()[i] = random.normal();

  const pare::Execution execution{.parallel_for = pare::OpenMpFor(2)};
  pare::Hessian hessian(cols);
  hessian.add(x, execution);
  const auto q = pare::gptq<pare::Int<4>>(w, hessian, {.group_size = 64}, execution);
  const auto packed = pare::pack(q);

  Outcome outcome;
  outcome.dequantized = values(pare::dequantize(q));
  pare::matmul(x, packed, y, execution);
  outcome.product = values(y);
  pare::matmul(pare::quantize_activations(x), packed, y, execution);
  outcome.integer_product = values(y);
  return outcome;
}
