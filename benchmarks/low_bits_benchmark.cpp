/// Weights of 2 and 3 bits and codebooks of 4 bits with int8 activations: y = x wᵀ in float32.

#include <type_traits>

#include "matmul_rows.hpp"
#include "pare/formats/fp4.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/nf4.hpp"
#include "pare/formats/ternary.hpp"

namespace bench {
namespace {

template <pare::Format F>
void add_rows(std::vector<Row>& rows, Index group, double peak_goal) {
  const auto add = [&](LayerShape shape, Index tokens, Memory memory,
                       pare::KernelName force = pare::KernelName::automatic) {
    Row row = matmul_row<F>({.operation = "low_bits",
                             .group = group,
                             .shape = shape,
                             .tokens = tokens,
                             .memory = memory,
                             .force = force});
    const bool first = shape.out == shape.in;
    if (tokens >= 128 && row.peak == Peak::vnni) row.goals.peak = peak_goal;
    // Of codebooks one token from memory is a goal too.
    if (F::code_bits == 4 && memory == Memory::cold) row.goals.bandwidth = 0.92;
    if (std::is_same_v<F, pare::Ternary> && group == -1 && force == pare::KernelName::automatic) {
      row.rivals = {{"llama.cpp-tq2_0", 0.0, "ternary"}};
      if (tokens >= 128) row.recorded = {{"ik_llama.cpp", 0.58}};
    }
    row.quick = first && (tokens == 128 || row.goals.bandwidth > 0.0);
    rows.push_back(row);
  };
  for (const LayerShape shape : layer_shapes) {
    add(shape, 1, Memory::cold);
    for (const Index tokens : {8, 32, 128, 512})
      if (shape.out == shape.in || tokens == 128) {
        add(shape, tokens, Memory::warm);
        if (has_amx() && tokens >= 128)
          add(shape, tokens, Memory::warm, pare::KernelName::avx512vnni);
      }
  }
}

}  // namespace

std::vector<Row> benchmark_rows() {
  std::vector<Row> rows;
  add_rows<pare::Ternary>(rows, -1, 0.80);
  add_rows<pare::Ternary>(rows, 128, 0.75);
  add_rows<pare::Int<2>>(rows, -1, 0.80);
  add_rows<pare::Int<2>>(rows, 128, 0.75);
  add_rows<pare::Int<3>>(rows, 128, 0.70);
  add_rows<pare::FP4>(rows, 128, 0.70);
  add_rows<pare::NF4>(rows, 128, 0.70);
  return rows;
}

}  // namespace bench
