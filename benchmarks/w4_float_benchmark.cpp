/// 4-bit weights with float32 and with bf16 activations: y = x wᵀ.

#include "matmul_rows.hpp"
#include "pare/formats/int.hpp"

namespace bench {

std::vector<Row> benchmark_rows() {
  std::vector<Row> rows;
  const auto add = [&](LayerShape shape, Index group, Index tokens, int threads, Memory memory) {
    Row row = matmul_row<pare::Int<4>>({.operation = "w4_float",
                                        .activations = Activations::float32,
                                        .group = group,
                                        .shape = shape,
                                        .tokens = tokens,
                                        .threads = threads,
                                        .memory = memory});
    const bool cold = memory == Memory::cold, decode = tokens == 1;
    if (tokens >= 128) row.goals.peak = 0.85;
    if (threads > 1)
      row.rivals.push_back({"onnxruntime", decode && !cold ? 2.5 : 0.0, "w4_float", group});
    // How fast beside int8 activations, which read the same weights.
    if (decode && cold) row.rivals.push_back({"int8 x", threads == 1 ? 0.8 : 0.9});
    row.quick = shape.out == shape.in && (tokens == 128 || (decode && group == 128));
    rows.push_back(row);
  };
  const int threads = default_threads();
  for (const Index group : {32, 128})
    for (const LayerShape shape : layer_shapes) {
      add(shape, group, 1, threads, Memory::cold);
      if (shape.out == shape.in) {
        add(shape, group, 1, 1, Memory::cold);
        add(shape, group, 1, threads, Memory::warm);
      }
      for (const Index tokens : {8, 32, 128, 512}) add(shape, group, tokens, threads, Memory::warm);
    }
  // Forced: on some CPUs fused multiply-adds are faster than bf16 products, on others AMX is.
  const auto add_bf16 = [&](Index group, Index tokens, pare::KernelName force) {
    Row row = matmul_row<pare::Int<4>>({.operation = "w4_bf16",
                                        .activations = Activations::bfloat16,
                                        .group = group,
                                        .tokens = tokens,
                                        .memory = tokens == 1 ? Memory::cold : Memory::warm,
                                        .force = force});
    if (tokens > 1 && row.peak == Peak::bf16) row.goals.peak = group == 32 ? 0.70 : 0.80;
    const bool best = force == pare::KernelName::automatic || !has_amx();
    row.rivals = {{"onnxruntime", tokens > 1 && best ? 2.0 : 0.0, "w4_float", group}};
    row.quick = tokens == 128;
    rows.push_back(row);
  };
  for (const Index group : {32, 128})
    for (const Index tokens : {1, 128, 512}) {
      add_bf16(group, tokens, pare::KernelName::avx512bf16);
      if (has_amx() && tokens > 1) add_bf16(group, tokens, pare::KernelName::automatic);
    }
  return rows;
}

}  // namespace bench
