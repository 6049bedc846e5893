/// What error-compensating quantization of a layer costs: the Hessian, its factor, the sweep and
/// all of GPTQ; the two searches of AWQ.

#include <cmath>
#include <memory>
#include <span>

#include "harness/data.hpp"
#include "harness/row.hpp"
#include "harness/threads.hpp"
#include "layer_inputs.hpp"
#include "pare/calibration/hessian.hpp"
#include "pare/core/lanes.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/uint.hpp"
#include "pare/kernels/gemm.hpp"
#include "pare/quantization/awq.hpp"
#include "pare/quantization/awq_clip.hpp"
#include "pare/quantization/gptq.hpp"
#include "pare/solvers/inverse_factor.hpp"

namespace bench {
namespace {

using namespace pare;

constexpr Index width = 4096, group_size = 128;

Workload prepare_hessian(const Row& row) {
  const auto h = std::make_shared<Hessian>(row.in);
  const Matrix<float>& x = random_activations(row.tokens, row.in);
  return {.run = [h, &x, run = execution(row)](Index) { h->add(x, run); }};
}

Workload prepare_factor(const Row& row) {
  const auto h = std::make_shared<Matrix<double>>(hessian(row)->matrix());
  return {
      .run = [h, run = execution(row)](Index) { static_cast<void>(inverse_factor(*h, {}, run)); }};
}

Workload prepare_sweep(const Row& row) {
  const Matrix<float>& w = random_weights(row.out, row.in);
  const GptqOptions options{.group_size = group_size};
  const auto factor = std::make_shared<ObsFactor>(*hessian(row), options.factor(), execution(row));
  return {.run = [&w, factor, options, run = execution(row)](Index) {
    static_cast<void>(gptq<Int<4>>(w, *factor, options, run));
  }};
}

Workload prepare_gptq(const Row& row) {
  const Matrix<float>& w = random_weights(row.out, row.in);
  return {.run = [&w, h = hessian(row), run = execution(row)](Index) {
    static_cast<void>(gptq<Int<4>>(w, *h, {.group_size = group_size}, run));
  }};
}

/// The module inspected is the layer itself: its outputs' mean squared change.
Workload prepare_awq_scales(const Row& row) {
  const Matrix<float>& w = random_weights(row.out, row.in);
  const Matrix<float>& x = random_activations(row.tokens, row.in);
  const auto mean_abs = std::make_shared<Vector<float>>(Shape<1>{row.in});
  for (Index t = 0; t < x.rows(); ++t)
    for (Index c = 0; c < x.cols(); ++c)
      (*mean_abs)[c] += std::fabs(x(t, c)) / static_cast<float>(x.rows());
  const auto wanted = std::make_shared<Matrix<float>>(Shape<2>{row.tokens, row.out});
  gemm(1.0f, x, w.view().transposed(), *wanted, execution(row));
  return {.run = [&w, &x, mean_abs, wanted, run = execution(row)](Index) {
    Matrix<float> change;
    const auto loss = [&](std::span<const Matrix<float>> trial) {
      change = *wanted;
      gemm(-1.0f, x, trial[0].view().transposed(), change, run);
      return detail::dot(change.data(), change.data(), change.size()) /
             static_cast<double>(change.size());
    };
    const MatrixView<const float> layers[] = {w};
    static_cast<void>(awq_scales<UInt<4>>(layers, *mean_abs, loss, {}, run));
  }};
}

Workload prepare_awq_clip(const Row& row) {
  const Matrix<float>& w = random_weights(row.out, row.in);
  const Matrix<float>& x = random_activations(row.tokens, row.in);
  return {.run = [&w, &x, run = execution(row)](Index) {
    static_cast<void>(awq_clip<UInt<4>>(w, x, {}, run));
  }};
}

Row solver_row(const char* variant, Index tokens, double operations, Peak peak, double goal,
               Workload (*prepare)(const Row&)) {
  Row row{.operation = "solver", .variant = variant};
  row.out = row.in = width, row.tokens = tokens, row.threads = default_threads();
  row.operations = operations;
  row.peak = peak, row.goals.peak = goal;
  row.quick = true;
  row.prepare = [row, prepare] { return prepare(row); };
  return row;
}

}  // namespace

std::vector<Row> benchmark_rows() {
  constexpr double n = width;
  // Tokens of the whole calibration, of one of its batches, and of the searches. The operations of
  // the latter are those of products with all tokens, whichever way the errors are found.
  constexpr Index all = 5120, batch = 2048, sample = 512;
  const AwqOptions awq;
  const double product = 2.0 * n * n * sample;
  std::vector<Row> rows = {
      solver_row("hessian_add", batch, batch * n * (n + 1), Peak::float32, 0.7, prepare_hessian),
      solver_row("inverse_factor", all, 2.0 / 3.0 * n * n * n, Peak::float64, 0.6, prepare_factor),
      solver_row("gptq_sweep", all, n * n * n, Peak::float32, 0.5, prepare_sweep),
      solver_row("gptq", all, 0.0, Peak::none, 0.0, prepare_gptq),
      solver_row("awq_scales", sample, product * awq.ratios, Peak::float32, 0.7,
                 prepare_awq_scales),
      solver_row("awq_clip", sample, product * awq.clip_steps, Peak::float32, 0.7,
                 prepare_awq_clip)};
  rows[3].rivals = {{.name = "pytorch", .goal = 3.0, .operation = "gptq", .group = group_size}};
  return rows;
}

}  // namespace bench
