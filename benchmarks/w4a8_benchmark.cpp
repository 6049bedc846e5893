/// 4-bit weights with int8 activations: y = x wᵀ in float32.

#include <algorithm>

#include "matmul_rows.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/uint.hpp"

namespace bench {
namespace {

/// Share of the VNNI peak in prefill.
double peak_goal(Index group, int threads) {
  const double two_threads = group == -1 ? 0.86 : group >= 128 ? 0.82 : group >= 64 ? 0.75 : 0.69;
  return threads == 1 ? two_threads - 0.02 : two_threads;
}

/// ik_llama.cpp's Q4_0_R8 on a Zen 5 server with two threads, the best of three shapes.
std::vector<Recorded> recorded_ik_llama(Index tokens, Memory memory) {
  if (tokens == 1)
    return memory == Memory::warm ? std::vector<Recorded>{{"ik_llama.cpp", 0.44, 1.4, true}}
                                  : std::vector<Recorded>{};
  if (memory == Memory::cold || tokens < 8) return {};
  return {{"ik_llama.cpp", tokens >= 128 ? 0.43 : tokens >= 32 ? 0.41 : 0.32, 1.55}};
}

std::vector<Rival> rivals_of(Index group, Index tokens, Memory memory) {
  const bool cold = memory == Memory::cold;
  double llama = 0.0, onnxruntime = 0.0;
  if (tokens == 1 && !cold) llama = onnxruntime = 1.4;
  if (tokens >= 8) {
    llama = cold ? 1.7 : 2.5;
    onnxruntime = cold ? 1.7 : group == 32 ? 3.0 : tokens >= 128 ? 2.4 : 2.0;
  }
  if (group == 32)
    return {{"llama.cpp-q4_0", llama, "w4a8", 32},
            {"llama.cpp-q4_k", llama, "w4a8", 32},
            {"onnxruntime", onnxruntime, "w4a8", 32}};
  if (group == 128) return {{"onnxruntime", onnxruntime, "w4a8", 128}};
  return {};
}

/// Products of quantized activations ("w4a8") have goals as shares of limits; peers take float32,
/// so products from float32 ("w4a8_dynamic") are what is compared with them.
template <pare::Format F>
void add_rows(std::vector<Row>& rows, LayerShape shape, Index group) {
  const bool first = shape.out == shape.in;
  const bool common = group == 32 || group == 128;
  const int all_threads = default_threads();
  const auto add = [&](MatmulSpec spec, bool quick) -> Row& {
    spec.group = group;
    spec.shape = shape;
    rows.push_back(matmul_row<F>(spec));
    rows.back().quick = quick && first;
    return rows.back();
  };
  const auto add_prefill = [&](Index tokens, int threads, Index activation_group, bool quick) {
    Row& row = add({.operation = "w4a8",
                    .activation_group = activation_group,
                    .tokens = tokens,
                    .threads = threads,
                    .force = vnni_kernel()},
                   quick);
    row.goals.peak = peak_goal(group, threads) - (activation_group == -1 ? 0.0 : 0.03);
  };
  const auto add_rivals = [&](Index tokens, Memory memory, bool quick) {
    Row& row = add({.operation = "w4a8_dynamic",
                    .activations = Activations::dynamic,
                    .tokens = tokens,
                    .threads = all_threads,
                    .memory = memory},
                   quick);
    row.rivals = rivals_of(group, tokens, memory);
    if (group == 32) row.recorded = recorded_ik_llama(tokens, memory);
  };

  if (common)
    for (const Index tokens : {1, 2, 4}) {
      Row& row = add(
          {.operation = "w4a8", .tokens = tokens, .threads = all_threads, .memory = Memory::cold},
          tokens != 2);
      row.goals.bandwidth = 0.92;
    }
  add_prefill(128, all_threads, -1, true);
  add_prefill(512, all_threads, -1, false);
  if (!first) return;
  add_prefill(128, 1, -1, common);
  if (!common) return;
  add_prefill(128, all_threads, group, !F::has_zero_point);
  if (F::has_zero_point) return;
  add_rivals(8, Memory::cold, true);
  for (const Index tokens : {1, 8, 32, 128, 512}) add_rivals(tokens, Memory::warm, tokens != 512);
}

Row forced_avx2_row() {
  Row row = matmul_row<pare::Int<4>>({.operation = "w4a8_dynamic",
                                      .activations = Activations::dynamic,
                                      .group = 32,
                                      .tokens = 128,
                                      .force = pare::KernelName::avx2});
  row.rivals = {{"llama.cpp-avx2-q4_0", 1.5, "w4a8", 32}};
  row.quick = true;
  return row;
}

}  // namespace

std::vector<Row> benchmark_rows() {
  std::vector<Row> rows;
  for (const Index group : {-1, 128, 64, 32})
    for (const LayerShape shape : layer_shapes) {
      add_rows<pare::Int<4>>(rows, shape, group);
      add_rows<pare::UInt<4>>(rows, shape, group);
    }
  rows.push_back(forced_avx2_row());
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.operation < b.operation; });
  return rows;
}

}  // namespace bench
