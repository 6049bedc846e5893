// The feed-forward layer of a transformer in 4 bits, beside the same layer in float32:
//
//     y = (silu(x W_gateᵀ) * (x W_upᵀ)) W_downᵀ
//
// x is rounded to int8 once and multiplied with W_gate and W_up in one parallel loop.
#include <cmath>
#include <cstdio>
#include <pare/core/random.hpp>
#include <pare/core/thread_pool.hpp>
#include <pare/kernels/describe.hpp>
#include <pare/kernels/gemm.hpp>
#include <pare/kernels/matmul.hpp>
#include <pare/kernels/pack.hpp>
#include <pare/quantization/quantize.hpp>

namespace {

using Format = pare::Int<4>;

constexpr pare::Index tokens = 16, width = 256, inner = 768;

pare::Matrix<float> normal(pare::Random& random, pare::Index rows, pare::Index cols,
                           float deviation) {
  pare::Matrix<float> matrix({rows, cols});
  for (pare::Index i = 0; i < matrix.size(); ++i) matrix.data()[i] = deviation * random.normal();
  return matrix;
}

/// gate = silu(gate) * up
void activate(pare::Matrix<float>& gate, const pare::Matrix<float>& up) {
  for (pare::Index i = 0; i < gate.size(); ++i) {
    float& g = gate.data()[i];
    g *= up.data()[i] / (1.0f + std::exp(-g));
  }
}

}  // namespace

int main() {
  pare::Random random(1);
  const auto x = normal(random, tokens, width, 1.0f);
  const auto w_gate = normal(random, inner, width, 1.0f / 16),
             w_up = normal(random, inner, width, 1.0f / 16),
             w_down = normal(random, width, inner, 1.0f / 28);

  // Once, when a model is loaded: codes and scales, then the order in which the kernels read them.
  const pare::QuantizeOptions options{.group_size = 64};
  const auto gate_weight = pare::pack(pare::quantize<Format>(w_gate, options));
  const auto up_weight = pare::pack(pare::quantize<Format>(w_up, options));
  const auto down_weight = pare::pack(pare::quantize<Format>(w_down, options));

  // For every batch of tokens: threads and scratch memory are the caller's.
  pare::ThreadPool pool(2);
  pare::Workspace workspace;
  const pare::Execution execution{.parallel_for = pool, .workspace = &workspace};
  pare::Matrix<float> gate({tokens, inner}), up({tokens, inner}), y({tokens, width});
  pare::matmul_dynamic(x, {{gate_weight, gate}, {up_weight, up}}, {}, execution);
  activate(gate, up);
  pare::matmul_dynamic(gate, down_weight, y, {}, execution);

  // The same without quantization.
  pare::Matrix<float> float_gate({tokens, inner}), float_up({tokens, inner}),
      expected({tokens, width});
  pare::gemm(1.0f, x, w_gate.view().transposed(), float_gate, execution);
  pare::gemm(1.0f, x, w_up.view().transposed(), float_up, execution);
  activate(float_gate, float_up);
  pare::gemm(1.0f, float_gate, w_down.view().transposed(), expected, execution);

  double error = 0.0, size = 0.0;
  for (pare::Index i = 0; i < y.size(); ++i) {
    const double e = expected.data()[i];
    error += std::pow(y.data()[i] - e, 2);
    size += e * e;
  }
  std::printf("%s\n",
              pare::describe(gate_weight, tokens, execution, pare::ActivationType::int8).c_str());
  std::printf("relative error %.0f %%\n", 100.0 * std::sqrt(error / size));
}
