/// Sparse int8 weights with int8 activations: blocks of 32 x 4 and 16 x 4 channels, and 2:4.
/// Operations are counted as if nothing were skipped, so that shares of the peak may exceed 1.

#include <memory>
#include <string>

#include "matmul_rows.hpp"
#include "pare/core/random.hpp"
#include "pare/formats/int.hpp"
#include "pare/kernels/pack_sparse.hpp"

namespace bench {
namespace {

using namespace pare;

/// Random weights of which blocks of 32 x 4 or 16 x 4, or two of each four, are zeros.
template <SparseLayout L>
Matrix<float> pruned_weights(LayerShape shape, double density) {
  Matrix<float> w = random_weights(shape.out, shape.in);
  Random random(7);
  for (Index first = 0; first < shape.out; first += L::channels)
    for (Index k = 0; k < shape.in; k += 4) {
      const bool keep = !L::has_blocks || random.uniform(0.0f, 1.0f) < density;
      for (Index i = first; i < first + L::channels; ++i)
        for (Index j = k; j < k + 4; ++j)
          if (!keep || (!L::has_blocks && (i + j) % 4 < 2)) w(i, j) = 0.0f;
    }
  return w;
}

/// What the kernel of int8 activations reads.
template <SparseLayout L>
std::vector<Bytes> reads_of(const SparseMatrix<L>& w) {
  const std::byte* bytes = w.storage().bytes().data();
  std::vector<Bytes> reads;
  for (const kernels::Section& section :
       {w.sections().codes, w.sections().quads, w.sections().scales})
    if (section.size_bytes > 0)
      reads.push_back(bytes_of(bytes + section.offset_bytes, section.size_bytes));
  return reads;
}

template <SparseLayout L>
struct SparseData {
  Rotation<SparseMatrix<L>> weights;
  Rotation<PackedMatrix<Int<8>>> dense;
  QuantizedActivations x;
  Matrix<float> y;
  Workspace workspace{};
};

struct SparseSpec {
  LayerShape shape;
  double density;
  Index tokens;
  int threads;
  Memory memory;
  /// Blocks are no work for AMX: what they gain is that over dense weights without it.
  KernelName force = vnni_kernel();
};

template <SparseLayout L>
Workload prepare_sparse(const SparseSpec& spec) {
  const Matrix<float> pruned = pruned_weights<L>(spec.shape, spec.density);
  const QuantizedMatrix<Int<8>> q = quantize<Int<8>>(pruned);
  SparseMatrix<L> sparse = pack<L>(q);
  PackedMatrix<Int<8>> dense = pack(q);
  const Matrix<float>& x = random_activations(spec.tokens, spec.shape.in);
  const Index bytes = sparse.bytes(), dense_bytes = dense.bytes();
  auto data =
      std::make_shared<SparseData<L>>(SparseData<L>{{std::move(sparse), bytes, spec.memory},
                                                    {std::move(dense), dense_bytes, spec.memory},
                                                    quantize_activations(x),
                                                    Matrix<float>({spec.tokens, spec.shape.out})});
  const Execution execution{.parallel_for = parallel_for(spec.threads),
                            .workspace = &data->workspace,
                            .force = spec.force};
  Workload work;
  work.run = [data, execution](Index use) {
    matmul(data->x, data->weights[use], data->y, execution);
  };
  work.rivals["dense"] = [data, execution](Index use) {
    matmul(data->x, data->dense[use], data->y, execution);
  };
  work.reads = [data](Index use) { return reads_of(data->weights[use]); };
  work.run(0);
  work.error = relative_error(x, pruned, data->y);
  work.kernel = describe(data->weights[0], spec.tokens, execution, ActivationType::int8);
  return work;
}

/// `of_dense`: the goal, times the speed of the dense weight.
template <SparseLayout L>
Row sparse_row(const SparseSpec& spec, double of_dense) {
  Row row{.operation = "sparse_int8", .variant = std::string(L::name)};
  if (L::has_blocks) row.variant += " density " + std::to_string(spec.density).substr(0, 4);
  if (spec.force != KernelName::automatic) row.variant += " " + std::string(to_string(spec.force));
  row.out = spec.shape.out, row.in = spec.shape.in;
  row.tokens = spec.tokens, row.threads = spec.threads, row.memory = spec.memory;
  row.operations = matmul_operations(row);
  const bool amx = has_amx() && spec.force == KernelName::automatic && spec.tokens > 8;
  row.peak = amx ? Peak::amx_int8 : Peak::vnni;
  row.rivals = {{"dense", of_dense}};
  row.prepare = [spec] { return prepare_sparse<L>(spec); };
  return row;
}

}  // namespace

std::vector<Row> benchmark_rows() {
  std::vector<Row> rows;
  const int threads = default_threads();
  for (const LayerShape shape : layer_shapes) {
    const bool first = shape.out == shape.in;
    const auto add = [&](Row row, bool quick) {
      row.quick = first && quick;
      rows.push_back(std::move(row));
    };
    for (const double density : {0.5, 0.25, 0.1}) {
      const SparseSpec spec{shape, density, 128, threads, Memory::warm};
      add(sparse_row<BlockSparse<32>>(spec, (density == 0.1 ? 0.5 : 0.8) / density), true);
      add(sparse_row<BlockSparse<16>>(spec, density == 0.1 ? 0.0 : 0.65 / density), true);
    }
    Row prefill = sparse_row<TwoFour>({shape, 0.5, 128, threads, Memory::warm}, 0.0);
    prefill.goals.peak = 0.85;
    add(prefill, true);
    if (has_amx())
      add(sparse_row<TwoFour>({shape, 0.5, 128, threads, Memory::warm, KernelName::automatic}, 0.0),
          true);

    const SparseSpec decode{shape, 0.5, 1, threads, Memory::cold};
    Row blocks = sparse_row<BlockSparse<32>>(decode, 0.0);
    Row narrow = sparse_row<BlockSparse<16>>(decode, 0.0);
    blocks.goals.bandwidth = narrow.goals.bandwidth = 0.9;
    add(blocks, true);
    add(narrow, false);
    add(sparse_row<TwoFour>(decode, 1.45), true);
  }
  return rows;
}

}  // namespace bench
