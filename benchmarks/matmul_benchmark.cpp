/// One linear layer, y = x wᵀ, of 4096 x 4096 weights: packed matmuls beside the float32 products
/// of Eigen (compiled for this CPU), OpenBLAS (where found) and pare.
///
///     one_token/<weights>_x_<activations>/threads:<n>      also 8_tokens/ and 128_tokens/
///
/// A decoder reads each weight once per step, so weights are cold: every iteration takes the next
/// of more than 600 MB of copies, more than any cache holds.
///
/// `seconds` is the median time of one product, `vs_float32` how many times faster that is than the
/// fastest float32 product with the same tokens and threads. It is timed before the first such
/// case: compare numbers of one run. `weights` is bytes of weights per second as stored, `flop`
/// operations per second. `error` is the largest difference from a product in double of the
/// weights as quantized, over the largest result.

#include <benchmark/benchmark.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "float_products.hpp"
#include "pare/core/parallel_openmp.hpp"
#include "pare/core/random.hpp"
#include "pare/formats/all.hpp"
#include "pare/kernels/describe.hpp"
#include "pare/kernels/matmul.hpp"
#include "pare/quantization/quantize.hpp"

namespace {

using namespace pare;

constexpr Index out_features = 4096, in_features = 4096;
constexpr Index cold_bytes = 640'000'000;

const Matrix<float>& weights() {
  static const Matrix<float> w = [] {
    Random random(1);
    Matrix<float> m({out_features, in_features});
    for (Index i = 0; i < m.size(); ++i) m.data()[i] = 0.02f * random.normal();
    return m;
  }();
  return w;
}

const Matrix<float>& activations(Index tokens) {
  static std::map<Index, Matrix<float>> all;
  Matrix<float>& x = all[tokens];
  if (x.empty()) {
    Random random(2);
    x = Matrix<float>({tokens, in_features});
    for (Index i = 0; i < x.size(); ++i) x.data()[i] = random.normal();
  }
  return x;
}

/// Kept: the benchmark library enters a case several times to find the number of iterations.
template <Format F>
const QuantizedMatrix<F>& quantized_weights(Index group_size) {
  static std::map<Index, QuantizedMatrix<F>> all;
  QuantizedMatrix<F>& q = all[group_size];
  if (q.rows() == 0) q = quantize<F>(weights(), {.group_size = group_size});
  return q;
}

/// Equal weights at different addresses, handed out in turn.
template <class W>
class Rotation {
 public:
  Rotation(const W& w, Index bytes)
      : copies_(static_cast<std::size_t>(ceil_div(cold_bytes, bytes)), w) {}
  const W& next() { return copies_[++at_ % copies_.size()]; }

 private:
  std::vector<W> copies_;
  std::size_t at_ = 0;
};

Rotation<Matrix<float>>& float_weights() {
  static Rotation<Matrix<float>> rotation(weights(), weights().size() * 4);
  return rotation;
}

template <class F>
double seconds_of(F&& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Median time of the fastest float32 product.
double float_seconds(Index tokens, int threads) {
  static std::map<std::pair<Index, int>, double> known;
  const auto [place, unknown] =
      known.try_emplace({tokens, threads}, std::numeric_limits<double>::infinity());
  if (unknown) {
    Matrix<float> y({tokens, out_features});
    for (const FloatProduct& product : float_products) {
      std::vector<double> seconds;
      for (int i = 0; i < (tokens == 1 ? 60 : 5); ++i)
        seconds.push_back(seconds_of(
            [&] { product.run(activations(tokens), float_weights().next(), y, threads); }));
      place->second = std::min(place->second, median(seconds));
    }
  }
  return place->second;
}

/// Times `f`, which multiplies by `weight_bytes` of weights.
template <class F>
void measure(benchmark::State& state, Index tokens, Index weight_bytes, F&& f) {
  const double baseline = float_seconds(tokens, static_cast<int>(state.range(0)));
  std::vector<double> all;
  for (auto _ : state) {
    all.push_back(seconds_of(f));
    state.SetIterationTime(all.back());
  }
  const double seconds = median(all);
  state.counters["seconds"] = seconds;
  state.counters["vs_float32"] = baseline / seconds;
  if (tokens == 1)
    state.counters["weights"] = static_cast<double>(weight_bytes) / seconds;
  else
    state.counters["flop"] =
        2.0 * static_cast<double>(tokens * out_features * in_features) / seconds;
}

double error_of(const Matrix<float>& x, const Matrix<float>& w, const Matrix<float>& y) {
  double error = 0.0, largest = 0.0;
  for (Index i = 0; i < w.rows(); i += 37) {
    double sum = 0.0;
    for (Index k = 0; k < w.cols(); ++k) sum += double{x(0, k)} * w(i, k);
    error = std::max(error, std::abs(sum - y(0, i)));
    largest = std::max(largest, std::abs(sum));
  }
  return error / largest;
}

void float32(benchmark::State& state, const FloatProduct& product, Index tokens) {
  const int threads = static_cast<int>(state.range(0));
  Matrix<float> y({tokens, out_features});
  product.run(activations(tokens), weights(), y, threads);
  state.counters["error"] = error_of(activations(tokens), weights(), y);
  measure(state, tokens, weights().size() * 4,
          [&] { product.run(activations(tokens), float_weights().next(), y, threads); });
}

/// `used` are the activations that `x` stands for.
template <Format F, class X>
void packed(benchmark::State& state, const X& x, const Matrix<float>& used, ActivationType type,
            Index group_size) {
  const Index tokens = used.rows();
  const QuantizedMatrix<F>& q = quantized_weights<F>(group_size);
  const PackedMatrix<F> w = pack(q);
  Workspace workspace;
  const Execution execution{.parallel_for = OpenMpFor(static_cast<int>(state.range(0))),
                            .workspace = &workspace};
  Matrix<float> y({tokens, out_features});
  matmul(x, w, y, execution);
  state.counters["error"] = error_of(used, dequantize(q), y);
  state.SetLabel(describe(w, tokens, execution, type));

  Rotation<PackedMatrix<F>> rotation(w, w.bytes());
  measure(state, tokens, w.bytes(), [&] { matmul(x, rotation.next(), y, execution); });
}

template <Format F>
void x_float32(benchmark::State& state, Index tokens, Index group_size) {
  packed<F>(state, activations(tokens), activations(tokens), ActivationType::float32, group_size);
}

template <Format F>
void x_int8(benchmark::State& state, Index tokens, Index group_size) {
  const QuantizedActivations x = quantize_activations(activations(tokens));
  packed<F>(state, x, dequantize(x), ActivationType::int8, group_size);
}

/// One thread and as many as there are processors.
template <class... Arguments>
void add(const std::string& name, Arguments... arguments) {
  for (const int threads : std::set<int>{1, omp_get_num_procs()})
    benchmark::RegisterBenchmark(name.c_str(), arguments...)
        ->Arg(threads)
        ->ArgName("threads")
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
}

}  // namespace

int main(int argc, char** argv) {
  for (const Index tokens : {1, 8, 128}) {
    const std::string prefix = tokens == 1 ? "one_token/" : std::to_string(tokens) + "_tokens/";
    for (const FloatProduct& product : float_products)
      add(prefix + "float32_" + product.name, float32, product, tokens);
    add(prefix + "int8_x_float32", x_float32<Int<8>>, tokens, -1);
    add(prefix + "int4_g128_x_float32", x_float32<Int<4>>, tokens, 128);
    add(prefix + "uint4_g128_x_float32", x_float32<UInt<4>>, tokens, 128);
    add(prefix + "nf4_g64_x_float32", x_float32<NF4>, tokens, 64);
    add(prefix + "int3_g128_x_float32", x_float32<Int<3>>, tokens, 128);
    add(prefix + "int8_x_int8", x_int8<Int<8>>, tokens, -1);
    add(prefix + "int4_g128_x_int8", x_int8<Int<4>>, tokens, 128);
    add(prefix + "uint4_g128_x_int8", x_int8<UInt<4>>, tokens, 128);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
