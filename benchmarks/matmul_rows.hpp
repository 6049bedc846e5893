#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "harness/data.hpp"
#include "harness/row.hpp"
#include "harness/threads.hpp"
#include "pare/kernels/describe.hpp"
#include "pare/kernels/matmul.hpp"
#include "pare/kernels/pack.hpp"
#include "pare/quantization/quantize.hpp"

namespace bench {

using pare::Index;

/// What a packed matmul is given.
enum class Activations {
  float32,
  int8,      ///< quantized before the clock starts
  dynamic,   ///< float32, quantized to int8 in the measured call
  bfloat16,  ///< float32, rounded to bf16 in the measured call
};

/// A row for a packed matmul, without goals and rivals.
struct MatmulSpec {
  std::string operation;
  Activations activations = Activations::int8;
  Index group = -1;
  Index activation_group = -1;
  LayerShape shape = layer_shapes[0];
  Index tokens = 1;
  int threads = default_threads();
  Memory memory = Memory::warm;
  pare::KernelName force = pare::KernelName::automatic;
};

[[nodiscard]] inline bool has_amx() { return pare::kernels::cpu_supports(pare::KernelName::amx); }

/// For rows that state a share of the VNNI peak: what runs unless the CPU has AMX.
[[nodiscard]] inline pare::KernelName vnni_kernel() {
  return has_amx() ? pare::KernelName::avx512vnni : pare::KernelName::automatic;
}

/// The arithmetic that bounds the kernel of a spec.
template <pare::Format F>
[[nodiscard]] Peak peak_of(const MatmulSpec& spec) {
  using Codes = pare::kernels::packed_codes<F>;
  const bool bf16 = spec.activations == Activations::bfloat16;
  const auto few = [&] {
    return bf16 ? pare::kernels::bf16_kernel<F>(pare::KernelName::amx)->few.largest()
                : pare::kernels::integer_kernel<Codes>(pare::KernelName::amx).few.largest();
  };
  const bool amx = spec.force == pare::KernelName::automatic && has_amx() && spec.tokens > few();
  if (spec.activations == Activations::float32) return Peak::float32;
  if (bf16)
    return amx                                          ? Peak::amx_bf16
           : spec.force == pare::KernelName::avx512bf16 ? Peak::bf16
                                                        : Peak::float32;
  if (spec.force == pare::KernelName::avxvnni) return Peak::avx_vnni;
  if (spec.force == pare::KernelName::avx2) return Peak::avx2_int8;
  return amx ? Peak::amx_int8 : Peak::vnni;
}

/// What kernels read of a packed weight.
template <pare::Format F>
[[nodiscard]] std::vector<Bytes> reads_of(const pare::PackedMatrix<F>& w) {
  const pare::kernels::PackedView view = w.view();
  const Index channels = w.panels() * pare::kernels::panel_channels * w.groups();
  std::vector<Bytes> reads{
      bytes_of(view.first.codes, w.panels() * view.first.units * view.unit_words),
      bytes_of(view.first.scales, channels * pare::bits(w.scale_type()) / 8)};
  if (view.first.zero_points) reads.push_back(bytes_of(view.first.zero_points, channels));
  return reads;
}

/// The random weights of a shape in format F, packed; kept to the end.
template <pare::Format F>
[[nodiscard]] const pare::PackedMatrix<F>& packed_weights(LayerShape shape, Index group) {
  static std::map<std::pair<std::pair<Index, Index>, Index>, pare::PackedMatrix<F>> all;
  const auto [place, is_new] = all.try_emplace({{shape.out, shape.in}, group});
  if (is_new)
    place->second =
        pack(pare::quantize<F>(random_weights(shape.out, shape.in), {.group_size = group}),
             {.parallel_for = parallel_for(default_threads())});
  return place->second;
}

template <pare::Format F>
struct MatmulData {
  Rotation<pare::PackedMatrix<F>> weights;
  const pare::Matrix<float>& x;
  pare::QuantizedActivations quantized;
  pare::Matrix<float> y;
  pare::Workspace workspace{};
};

template <pare::Format F>
[[nodiscard]] Workload prepare_matmul(const MatmulSpec& spec) {
  using namespace pare;
  const PackedMatrix<F>& w = packed_weights<F>(spec.shape, spec.group);
  const Matrix<float>& x = random_activations(spec.tokens, spec.shape.in);
  const ActivationOptions options{.group_size = spec.activation_group};
  const VectorView<const float> bias = random_activations(1, spec.shape.out).view().row(0);
  auto data =
      std::make_shared<MatmulData<F>>(MatmulData<F>{{w, total_bytes(reads_of(w)), spec.memory},
                                                    x,
                                                    quantize_activations(x, options),
                                                    Matrix<float>({spec.tokens, spec.shape.out})});
  const Execution execution{.parallel_for = parallel_for(spec.threads),
                            .workspace = &data->workspace,
                            .force = spec.force};
  const auto output = [data, bias](Index use) {
    return MatmulOutput(data->weights[use], data->y, {.bias = bias});
  };
  const auto with_int8 = [=](Index use) { matmul(data->quantized, {output(use)}, execution); };

  Workload work;
  switch (spec.activations) {
    case Activations::float32:
      work.run = [=](Index use) { matmul(data->x, {output(use)}, execution); };
      work.rivals["int8 x"] = with_int8;
      break;
    case Activations::int8:
      work.run = with_int8;
      break;
    case Activations::bfloat16:
      work.run = [=](Index use) { matmul_bf16(data->x, {output(use)}, execution); };
      break;
    case Activations::dynamic:
      work.run = [=](Index use) { matmul_dynamic(data->x, {output(use)}, options, execution); };
      break;
  }
  work.reads = [data](Index use) { return reads_of(data->weights[use]); };
  work.run(0);
  for (Index t = 0; t < spec.tokens; ++t)
    for (Index n = 0; n < spec.shape.out; ++n) data->y(t, n) -= bias[n];
  work.error = relative_error(x, random_weights(spec.shape.out, spec.shape.in), data->y);
  work.kernel = describe(w, spec.tokens, execution,
                         spec.activations == Activations::float32    ? ActivationType::float32
                         : spec.activations == Activations::bfloat16 ? ActivationType::bfloat16
                                                                     : ActivationType::int8,
                         spec.activation_group);
  return work;
}

template <pare::Format F>
[[nodiscard]] Row matmul_row(const MatmulSpec& spec) {
  Row row{.operation = spec.operation, .variant = std::string(F::name)};
  row.variant += spec.group == -1 ? " row" : " g" + std::to_string(spec.group);
  if (spec.activation_group != -1) row.variant += " x g" + std::to_string(spec.activation_group);
  if (spec.force != pare::KernelName::automatic)
    row.variant += " " + std::string(to_string(spec.force));
  row.out = spec.shape.out, row.in = spec.shape.in;
  row.tokens = spec.tokens, row.threads = spec.threads, row.memory = spec.memory;
  row.operations = matmul_operations(row);
  row.peak = peak_of<F>(spec);
  row.prepare = [spec] { return prepare_matmul<F>(spec); };
  return row;
}

}  // namespace bench
