/// What pruning a layer costs: choosing weights by a score, the sweep of SparseGPT and all of it,
/// and ALPS.

#include <memory>

#include "harness/copy_loop.hpp"
#include "harness/data.hpp"
#include "harness/row.hpp"
#include "harness/threads.hpp"
#include "layer_inputs.hpp"
#include "pare/calibration/hessian.hpp"
#include "pare/pruning/alps.hpp"
#include "pare/pruning/selection.hpp"
#include "pare/pruning/sparsegpt.hpp"

namespace bench {
namespace {

using namespace pare;

/// Beside a loop that reads the scores and writes as many masks of bytes.
Workload prepare_selection(const Row& row) {
  const Matrix<float>& scores = random_activations(row.out, row.in);
  const bool by_row = row.variant == "select_row";
  const Selection selection{.sparsity = 0.5,
                            .scope = by_row ? SelectionScope::row : SelectionScope::matrix};
  const CopyLoop loop{.from = scores.data(),
                      .to = nullptr,
                      .lines_read = 4,
                      .lines_written = 0,
                      .steps = row.out * row.in * Index{sizeof(float)} / 64 / 4};
  Workload work;
  work.run = [&scores, selection, run = execution(row)](Index) {
    static_cast<void>(select(scores, selection, run));
  };
  work.rivals["plain loop"] = [loop, threads = row.threads](Index) { bench::run(loop, threads); };
  work.bytes = static_cast<double>(row.out * row.in) * sizeof(float);
  return work;
}

Workload prepare_sweep(const Row& row) {
  const Matrix<float>& w = random_weights(row.out, row.in);
  const auto factor =
      std::make_shared<ObsFactor>(*hessian(row), ObsFactorOptions{}, execution(row));
  return {.run = [&w, factor, run = execution(row)](Index) {
    static_cast<void>(sparsegpt(w, *factor, {}, run));
  }};
}

Workload prepare_sparsegpt(const Row& row) {
  const Matrix<float>& w = random_weights(row.out, row.in);
  return {.run = [&w, h = hessian(row), run = execution(row)](Index) {
    static_cast<void>(sparsegpt(w, *h, {}, run));
  }};
}

Workload prepare_alps(const Row& row) {
  const Matrix<float>& w = random_weights(row.out, row.in);
  return {.run = [&w, h = hessian(row), run = execution(row)](Index) {
    static_cast<void>(alps(w, *h, {.selection = {.sparsity = 0.7}, .max_iterations = 50}, run));
  }};
}

Row pruning_row(const char* variant, Index width, Index tokens, Workload (*prepare)(const Row&)) {
  Row row{.operation = "pruning", .variant = variant};
  row.out = row.in = width, row.tokens = tokens, row.threads = default_threads();
  row.quick = true;
  row.prepare = [row, prepare] { return prepare(row); };
  return row;
}

}  // namespace

std::vector<Row> benchmark_rows() {
  constexpr Index width = 4096, tokens = 5120;
  constexpr double n = width;
  std::vector<Row> rows{pruning_row("select_row", width, 0, prepare_selection),
                        pruning_row("select_matrix", width, 0, prepare_selection),
                        pruning_row("sparsegpt_sweep", width, tokens, prepare_sweep),
                        pruning_row("sparsegpt", width, tokens, prepare_sparsegpt),
                        pruning_row("alps", width / 2, tokens, prepare_alps)};
  rows[0].rivals = {{.name = "plain loop", .goal = 0.25}};
  rows[1].rivals = {{.name = "plain loop"}};
  rows[2].operations = n * n * n;
  rows[2].peak = Peak::float32, rows[2].goals.peak = 0.5;
  rows[3].rivals = {{.name = "pytorch", .goal = 3.0, .operation = "sparsegpt"}};
  rows[4].rivals = {{.name = "pytorch", .goal = 1.5, .operation = "alps"}};
  return rows;
}

}  // namespace bench
