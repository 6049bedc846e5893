/// absmax, quantize, dequantize and fake-quantize of 1 GiB of float32, each beside a loop that only
/// reads and writes as much, with the same kind of stores.

#include <functional>
#include <memory>
#include <utility>

#include "harness/copy_loop.hpp"
#include "harness/data.hpp"
#include "harness/row.hpp"
#include "harness/threads.hpp"
#include "pare/formats/int.hpp"
#include "pare/kernels/elementwise.hpp"
#include "pare/kernels/quantized_activations.hpp"
#include "pare/quantization/fake_quantize.hpp"

namespace bench {
namespace {

using namespace pare;

constexpr Index rows = 16384, cols = 16384, size = rows * cols;
constexpr Index float_lines = size * Index{sizeof(float)} / 64;

/// What is timed, and the loop beside it.
struct Operation {
  std::function<void()> run;
  CopyLoop loop;
};

Workload workload(const Operation& operation, int threads) {
  Workload work;
  work.run = [run = operation.run](Index) { run(); };
  work.rivals["plain loop"] = [loop = operation.loop, threads](Index) {
    bench::run(loop, threads);
  };
  work.bytes = 64.0 * static_cast<double>(operation.loop.steps) *
               (operation.loop.lines_read + operation.loop.lines_written);
  return work;
}

Operation absmax_operation(const Execution& execution) {
  const Matrix<float>& x = random_activations(rows, cols);
  return {[&x, execution] { static_cast<void>(absmax(x, execution)); },
          {.from = x.data(),
           .to = nullptr,
           .lines_read = 4,
           .lines_written = 0,
           .steps = float_lines / 4}};
}

Operation quantize_operation(const Execution& execution) {
  const Matrix<float>& x = random_activations(rows, cols);
  auto q = std::make_shared<QuantizedActivations>();
  quantize_activations(x, {}, execution, *q);
  return {[&x, q, execution] { quantize_activations(x, {}, execution, *q); },
          {.from = x.data(),
           .to = q->codes.data(),
           .lines_read = 4,
           .lines_written = 1,
           .steps = float_lines / 4}};
}

Operation dequantize_operation(const Execution& execution) {
  auto q = std::make_shared<QuantizedMatrix<Int<8>>>(rows, cols, -1, ScaleType::f32);
  for (Index i = 0; i < rows; ++i) q->parameters()(i, 0).scale = 0.01f;
  auto y = std::make_shared<Matrix<float>>(Shape<2>{rows, cols});
  return {[q, y, execution] { dequantize(*q, *y, execution); },
          {.from = q->codes().data(),
           .to = y->data(),
           .lines_read = 1,
           .lines_written = 4,
           .steps = float_lines / 4,
           .streaming = true}};
}

Operation fake_quantize_operation(const Execution& execution) {
  const Matrix<float>& x = random_activations(rows, cols);
  auto y = std::make_shared<Matrix<float>>(Shape<2>{rows, cols});
  return {[&x, y, execution] {
            fake_quantize(x, AffineParameters{0.03f}, fake_quantize_options<Int<8>>(), *y,
                          execution);
          },
          {.from = x.data(),
           .to = y->data(),
           .lines_read = 1,
           .lines_written = 1,
           .steps = float_lines,
           .streaming = true}};
}

}  // namespace

std::vector<Row> benchmark_rows() {
  const std::pair<const char*, Operation (*)(const Execution&)> operations[] = {
      {"absmax", absmax_operation},
      {"quantize", quantize_operation},
      {"dequantize", dequantize_operation},
      {"fake_quantize", fake_quantize_operation}};
  std::vector<Row> all;
  for (const auto& [name, make] : operations) {
    Row row{.operation = "elementwise", .variant = name};
    row.out = rows, row.in = cols, row.threads = default_threads(), row.memory = Memory::cold;
    row.quick = true;
    row.rivals = {{.name = "plain loop", .goal = 0.85}};
    row.prepare = [make = make, threads = row.threads] {
      return workload(make({.parallel_for = parallel_for(threads)}), threads);
    };
    all.push_back(row);
  }
  return all;
}

}  // namespace bench
