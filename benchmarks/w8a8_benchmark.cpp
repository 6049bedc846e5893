/// int8 weights, a scale per row, with int8 activations: y = x wᵀ in float32.

#include "matmul_rows.hpp"
#include "pare/formats/int.hpp"

namespace bench {
namespace {

/// From int8 ("w8a8") or from float32 activations ("w8a8_dynamic").
Row w8a8_row(Activations activations, LayerShape shape, Index tokens, int threads, Memory memory,
             pare::KernelName force = pare::KernelName::automatic) {
  const bool dynamic = activations == Activations::dynamic;
  Row row = matmul_row<pare::Int<8>>({.operation = dynamic ? "w8a8_dynamic" : "w8a8",
                                      .activations = activations,
                                      .shape = shape,
                                      .tokens = tokens,
                                      .threads = threads,
                                      .memory = memory,
                                      .force = force});
  const bool prefill = tokens >= 128;
  const bool decode_warm = tokens == 1 && memory == Memory::warm;
  if (prefill && row.peak == Peak::vnni)
    row.goals.peak = (dynamic ? 0.85 : 0.88) - (threads == 1 ? dynamic ? 0.01 : 0.02 : 0);
  if (tokens <= 4 && memory == Memory::cold) row.goals.bandwidth = 0.92;
  if (force != pare::KernelName::automatic) return row;
  if (dynamic)
    row.rivals = {{"onnxruntime", prefill ? 1.25 : 0.0, "w8a8_dynamic"}};
  else
    row.rivals = {{"onednn", prefill || decode_warm ? 1.0 : 0.0, "w8a8"}};
  return row;
}

/// With AMX prefill has two rows: shares of the VNNI peak are those of its kernels.
template <class Add>
void add_prefill(Add&& add) {
  add(pare::KernelName::automatic);
  if (has_amx()) add(pare::KernelName::avx512vnni);
}

Row forced_row(pare::KernelName kernel, double goal) {
  Row row = matmul_row<pare::Int<8>>({.operation = "w8a8", .tokens = 128, .force = kernel});
  row.goals.peak = goal;
  row.quick = true;
  return row;
}

}  // namespace

std::vector<Row> benchmark_rows() {
  std::vector<Row> rows;
  const int threads = default_threads();
  for (const LayerShape shape : layer_shapes) {
    const bool first = shape.out == shape.in;
    const auto add = [&](Activations activations, Index tokens, int count, Memory memory,
                         bool quick, pare::KernelName force = pare::KernelName::automatic) {
      rows.push_back(w8a8_row(activations, shape, tokens, count, memory, force));
      rows.back().quick = first && quick;
    };
    for (const Index tokens : {1, 2, 4})
      add(Activations::int8, tokens, threads, Memory::cold, tokens != 2);
    if (first) add(Activations::int8, 1, threads, Memory::warm, true);
    for (const Index tokens : {8, 32}) add(Activations::int8, tokens, threads, Memory::warm, false);
    for (const Index tokens : {128, 512})
      for (const int count : {threads, 1})
        add_prefill([&](pare::KernelName force) {
          add(Activations::int8, tokens, count, Memory::warm, tokens == 128, force);
        });
  }
  rows.push_back(forced_row(pare::KernelName::avxvnni, 0.80));
  rows.push_back(forced_row(pare::KernelName::avx2, 0.80));
  for (const LayerShape shape : layer_shapes)
    for (const Index tokens : {1, 8, 32, 128, 512})
      for (const int count : {threads, 1}) {
        if (count == 1 && tokens < 128) continue;
        const auto add = [&](pare::KernelName force) {
          rows.push_back(w8a8_row(Activations::dynamic, shape, tokens, count, Memory::warm, force));
          rows.back().quick = shape.out == shape.in && tokens == 128;
        };
        if (tokens >= 128)
          add_prefill(add);
        else
          add(pare::KernelName::automatic);
      }
  return rows;
}

}  // namespace bench
