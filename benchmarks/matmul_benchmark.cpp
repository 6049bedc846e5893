/// One linear layer, y = x wᵀ: packed matmuls beside float32 products of Eigen, of OpenBLAS (where
/// found) and of a plain loop over rows.
///
/// A decoder reads each weight once per token, so the weights of the one-token cases are cold:
/// every iteration takes the next of more than 600 MB of copies, more than any cache holds. The
/// counter `weights` is bytes of weights per second as stored by each method; `vs_float` is the
/// time of the fastest float32 product with the same threads over the time of this one (measured
/// before the first case; compare only numbers of one run). `error` is the largest difference from
/// a product in double of the weights as quantized, over the largest result.

#include <benchmark/benchmark.h>
#include <omp.h>

#include <Eigen/Core>
#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/core/random.hpp"
#include "pare/formats/all.hpp"
#include "pare/kernels/describe.hpp"
#include "pare/kernels/matmul.hpp"
#include "pare/quantization/quantize.hpp"
#if defined(PARE_HAVE_OPENBLAS)
#include <cblas.h>
#endif

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

enum class Product { eigen, openblas, rows };

/// Sums of the plain loop: enough for a compiler to keep the multiply-adds busy.
constexpr Index lanes = 64;

/// One token; the rows of w are shared out to the threads.
void float_product(Product product, const Matrix<float>& w, const float* x, float* y, int threads) {
#if defined(PARE_HAVE_OPENBLAS)
  if (product == Product::openblas) {
    openblas_set_num_threads(threads);
    cblas_sgemv(CblasRowMajor, CblasNoTrans, out_features, in_features, 1.0f, w.data(), in_features,
                x, 1, 0.0f, y, 1);
    return;
  }
#endif
  const Index rows = out_features / threads;
  OpenMpFor{threads}(threads, [&](Index part) {
    const Index begin = part * rows;
    if (product == Product::eigen) {
      using Dense = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
      const Eigen::Map<const Dense> part_of_w(&w(begin, 0), rows, in_features);
      const Eigen::Map<const Eigen::VectorXf> input(x, in_features);
      Eigen::Map<Eigen::VectorXf>(y + begin, rows).noalias() = part_of_w * input;
      return;
    }
    for (Index i = begin; i < begin + rows; ++i) {
      const float* row = &w(i, 0);
      float sums[lanes] = {};
      for (Index k = 0; k < in_features; k += lanes)
        for (Index lane = 0; lane < lanes; ++lane) sums[lane] += row[k + lane] * x[k + lane];
      y[i] = std::accumulate(sums, sums + lanes, 0.0f);
    }
  });
}

template <class F>
double median_seconds(F&& f, int repeats) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    seconds.push_back(spent.count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + repeats / 2, seconds.end());
  return seconds[static_cast<std::size_t>(repeats / 2)];
}

Rotation<Matrix<float>>& float_weights() {
  static Rotation<Matrix<float>> rotation(weights(), weights().size() * 4);
  return rotation;
}

/// Median time of the fastest float32 product.
double float_seconds(int threads) {
  static std::map<int, double> known;
  double& best = known[threads];
  if (best > 0.0) return best;
  Vector<float> y({out_features});
  best = std::numeric_limits<double>::max();
  for (const Product product : {Product::eigen, Product::openblas, Product::rows})
    best = std::min(best, median_seconds(
                              [&] {
                                float_product(product, float_weights().next(),
                                              activations(1).data(), y.data(), threads);
                              },
                              60));
  return best;
}

void float_one_token(benchmark::State& state, Product product) {
  const int threads = static_cast<int>(state.range(0));
  const double baseline = float_seconds(threads);
  Vector<float> y({out_features});
  std::vector<double> seconds;
  for (auto _ : state) {
    seconds.push_back(median_seconds(
        [&] {
          float_product(product, float_weights().next(), activations(1).data(), y.data(), threads);
        },
        1));
    state.SetIterationTime(seconds.back());
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<Index>(seconds.size()) / 2,
                   seconds.end());
  const double median = seconds[seconds.size() / 2];
  state.counters["weights"] =
      benchmark::Counter(4.0 * out_features * in_features / median, benchmark::Counter::kDefaults);
  state.counters["vs_float"] = baseline / median;
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

/// `X` is what multiplies: float activations or their codes.
template <Format F, class X>
void packed(benchmark::State& state, const X& x, Index tokens, Index group_size, bool cold,
            ActivationType type) {
  const int threads = static_cast<int>(state.range(0));
  const double baseline = tokens == 1 ? float_seconds(threads) : 0.0;
  const auto q = quantize<F>(weights(), {.group_size = group_size});
  const PackedMatrix<F> w = pack(q);
  Workspace workspace;
  const Execution execution{.parallel_for = OpenMpFor(threads), .workspace = &workspace};
  Matrix<float> y({tokens, out_features});
  matmul(x, w, y, execution);
  if constexpr (std::is_same_v<X, Matrix<float>>)
    state.counters["error"] = error_of(x, dequantize(q), y);
  else
    state.counters["error"] = error_of(dequantize(x), dequantize(q), y);

  Rotation<PackedMatrix<F>> rotation(w, cold ? w.bytes() : cold_bytes);
  std::vector<double> seconds;
  for (auto _ : state) {
    seconds.push_back(median_seconds([&] { matmul(x, rotation.next(), y, execution); }, 1));
    state.SetIterationTime(seconds.back());
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<Index>(seconds.size()) / 2,
                   seconds.end());
  const double median = seconds[seconds.size() / 2];
  if (tokens == 1) {
    state.counters["weights"] = static_cast<double>(w.bytes()) / median;
    state.counters["vs_float"] = baseline / median;
  } else {
    state.counters["flop"] =
        2.0 * static_cast<double>(tokens) * out_features * in_features / median;
  }
  state.SetLabel(describe(w, tokens, execution, type));
}

template <Format F>
void float_activations(benchmark::State& state, Index tokens, Index group_size) {
  packed<F>(state, activations(tokens), tokens, group_size, tokens == 1, ActivationType::float32);
}

template <Format F>
void int8_activations(benchmark::State& state, Index tokens, Index group_size) {
  packed<F>(state, quantize_activations(activations(tokens)), tokens, group_size, tokens == 1,
            ActivationType::int8);
}

template <class... Arguments>
void add(const std::string& name, Arguments... arguments) {
  for (const int threads : {1, 2})
    benchmark::RegisterBenchmark(name.c_str(), arguments...)
        ->Arg(threads)
        ->ArgName("threads")
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond)
        ->MinTime(0.3);
}

}  // namespace

int main(int argc, char** argv) {
  add("one token/float32 Eigen", float_one_token, Product::eigen);
#if defined(PARE_HAVE_OPENBLAS)
  add("one token/float32 OpenBLAS", float_one_token, Product::openblas);
#endif
  add("one token/float32 rows", float_one_token, Product::rows);
  add("one token/int8 x float", float_activations<Int<8>>, 1, -1);
  add("one token/int4 g128 x float", float_activations<Int<4>>, 1, 128);
  add("one token/uint4 g128 x float", float_activations<UInt<4>>, 1, 128);
  add("one token/nf4 g64 x float", float_activations<NF4>, 1, 64);
  add("one token/int3 g128 x float", float_activations<Int<3>>, 1, 128);
  add("one token/int8 x int8", int8_activations<Int<8>>, 1, -1);
  add("one token/int4 g128 x int8", int8_activations<Int<4>>, 1, 128);
  add("one token/uint4 g128 x int8", int8_activations<UInt<4>>, 1, 128);
  for (const Index tokens : {8, 128}) {
    const std::string prefix = std::to_string(tokens) + " tokens/";
    add(prefix + "int8 x float", float_activations<Int<8>>, tokens, -1);
    add(prefix + "int4 g128 x float", float_activations<Int<4>>, tokens, 128);
    add(prefix + "int8 x int8", int8_activations<Int<8>>, tokens, -1);
    add(prefix + "int4 g128 x int8", int8_activations<Int<4>>, tokens, 128);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
