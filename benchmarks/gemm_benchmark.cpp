/// pare::gemm as a linear layer, y = x wᵀ, of float32 and float64 weights.

#include <memory>
#include <type_traits>

#include "harness/data.hpp"
#include "harness/row.hpp"
#include "harness/threads.hpp"
#include "pare/kernels/gemm.hpp"

namespace bench {
namespace {

using namespace pare;

template <class T>
Workload prepare(const Row& row) {
  struct Data {
    Rotation<Matrix<T>> weights;
    Matrix<T> x, y;
  };
  const Index bytes = row.out * row.in * static_cast<Index>(sizeof(T));
  auto data = std::make_shared<Data>(
      Data{{Matrix<T>(random_weights(row.out, row.in).view()), bytes, row.memory},
           Matrix<T>(random_activations(row.tokens, row.in).view()),
           Matrix<T>({row.tokens, row.out})});
  Workload work;
  work.run = [data, threads = parallel_for(row.threads)](Index use) {
    data->y.fill(T(0));
    gemm(T(1), data->x, data->weights[use].view().transposed(), data->y, {.parallel_for = threads});
  };
  work.reads = [data](Index use) {
    return std::vector<Bytes>{bytes_of(data->weights[use].data(), data->weights[use].size())};
  };
  work.run(0);
  work.error = relative_error(data->x, data->weights[0], data->y);
  return work;
}

template <class T>
Row gemm_row(Index out, Index in, Index tokens, int threads, Memory memory) {
  constexpr bool single = std::is_same_v<T, float>;
  Row row{.operation = "gemm", .variant = single ? "float32" : "float64"};
  row.out = out, row.in = in, row.tokens = tokens, row.threads = threads, row.memory = memory;
  row.operations = matmul_operations(row);
  row.peak = single ? Peak::float32 : Peak::float64;
  if (single)
    for (const char* name : {"onednn", "openblas", "eigen"})
      row.rivals.push_back({.name = name, .operation = "float32"});
  row.prepare = [row] { return prepare<T>(row); };
  return row;
}

}  // namespace

std::vector<Row> benchmark_rows() {
  std::vector<Row> rows;
  const int threads = default_threads();
  for (const Index tokens : {1, 8, 32, 128, 512}) {
    for (const auto& [out, in] : layer_shapes)
      rows.push_back(gemm_row<float>(out, in, tokens, threads, Memory::cold));
    rows[rows.size() - std::size(layer_shapes)].quick = tokens == 1 || tokens == 128;
  }
  rows.push_back(gemm_row<float>(4096, 4096, 128, 1, Memory::cold));
  rows.push_back(gemm_row<double>(4096, 4096, 512, threads, Memory::warm));
  rows.back().quick = true;
  return rows;
}

}  // namespace bench
