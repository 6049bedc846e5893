// Prints a hash of the codes and the scales of each quantizer over shapes and weights that are
// delicate to round. All builds print the same lines, whatever their flags; "flush" in the command
// line makes the thread take subnormal numbers for zero.
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "pare/core/config.hpp"
#include "pare/core/random.hpp"
#include "pare/formats/fp4.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/nf4.hpp"
#include "pare/formats/ternary.hpp"
#include "pare/formats/uint.hpp"
#include "pare/quantization/fake_quantize.hpp"
#include "pare/quantization/gptq.hpp"
#include "pare/quantization/learned_scale.hpp"
#include "pare/quantization/quantize.hpp"
#if PARE_X86_KERNELS
#include <xmmintrin.h>
#endif

namespace {

using pare::Index;

/// Exact steps only, so that all builds see the same numbers: of 9 bits, times a power of two.
float number(pare::Random& random, int exponent) {
  const std::uint32_t bits = random.below(1u << 9);
  const float value = std::bit_cast<float>(0x3f800000u | bits << 14);  // in [1, 2)
  const int spread = static_cast<int>(random.below(5)) + exponent;
  const std::uint32_t sign = random.below(2) << 31;
  const std::uint32_t shifted =
      std::bit_cast<std::uint32_t>(value) + (static_cast<std::uint32_t>(spread) << 23);
  return std::bit_cast<float>(shifted | sign);
}

enum class Weights { usual, dense, ties, tiny, subnormal, zeros, positive, large };
constexpr const char* weight_names[] = {"usual",     "dense", "ties",     "tiny",
                                        "subnormal", "zeros", "positive", "large"};

float weight(pare::Random& random, Weights kind, Index j) {
  switch (kind) {
    case Weights::usual:
      return number(random, -6);
    case Weights::dense: {  // all bits of the mantissa
      const std::uint32_t bits = static_cast<std::uint32_t>(random() >> 32);
      return std::bit_cast<float>((bits & 0x807fffffu) | (119u + (bits >> 23 & 7u)) << 23);
    }
    case Weights::ties:  // halves of what the largest, 7.5 or 127 in the first column, makes 1
      return j == 0 ? 127.0f : static_cast<float>(static_cast<int>(random.below(255)) - 127) * 0.5f;
    case Weights::tiny:
      return number(random, -126);
    case Weights::subnormal:
      return std::bit_cast<float>(random.below(0x00900000u) | random.below(2) << 31);
    case Weights::zeros:
      return j % 64 < 32 ? std::bit_cast<float>(random.below(2) << 31) : number(random, -60);
    case Weights::positive: {
      const float v = number(random, -20);
      return v < 0.0f ? -v : v;
    }
    case Weights::large:
      return number(random, 122);
  }
  return 0.0f;
}

pare::Matrix<float> weights(Weights kind, Index rows, Index cols) {
  pare::Random random(static_cast<std::uint64_t>(rows * 1000 + cols));
  pare::Matrix<float> w({rows, cols});
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j) w(i, j) = weight(random, kind, j);
  return w;
}

std::uint64_t add(std::uint64_t hash, const void* data, std::size_t size) {
  for (const unsigned char byte : std::span(static_cast<const unsigned char*>(data), size))
    hash = (hash ^ byte) * 0x100000001b3u;
  return hash;
}

template <class F>
std::uint64_t hash_of(const pare::QuantizedMatrix<F>& q) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (Index i = 0; i < q.rows(); ++i)
    for (Index j = 0; j < q.cols(); ++j) {
      const auto code = q.code(i, j);
      hash = add(hash, &code, sizeof(code));
    }
  for (Index i = 0; i < q.rows(); ++i)
    for (Index g = 0; g < q.groups(); ++g) {
      const float scale = q.parameters()(i, g).scale;
      const int zero_point = F::zero_point(q.parameters()(i, g));
      hash = add(add(hash, &scale, sizeof(scale)), &zero_point, sizeof(zero_point));
    }
  const auto type = q.scale_type();
  return add(hash, &type, sizeof(type));
}

void print(const std::string& what, std::uint64_t hash) {
  std::printf("%-60s %016llx\n", what.c_str(), static_cast<unsigned long long>(hash));
}

template <class Run>
void attempt(const std::string& what, Run&& run) {
  try {
    print(what, run());
  } catch (const pare::Error& e) {
    std::printf("%-60s %s\n", what.c_str(), e.what());
  }
}

/// Of inputs that are not correlated where errors that spread would leave no ties.
pare::Hessian hessian(Weights kind, Index n) {
  pare::Hessian h(n);
  if (kind == Weights::ties) {
    pare::Matrix<float> x({n, n});
    for (Index i = 0; i < n; ++i) x(i, i) = static_cast<float>(1 + i % 7);
    h.add(x);
  } else {
    h.add(weights(Weights::usual, n + 7, n));
  }
  return h;
}

struct Case {
  Index rows, cols, group_size;
};
constexpr Case cases[] = {{1, 1, -1},   {3, 17, -1},  {17, 33, 8},
                          {5, 130, 32}, {33, 97, 64}, {16, 64, 16}};

template <class F>
void quantizers(Weights kind) {
  for (const Case& c : cases) {
    const Index rows = c.rows, cols = c.cols, group_size = c.group_size;
    const pare::Matrix<float> w = weights(kind, rows, cols);
    const std::string name = std::string(F::name) + " " + weight_names[static_cast<int>(kind)] +
                             " " + std::to_string(rows) + "x" + std::to_string(cols);
    for (const auto force :
         {pare::KernelName::automatic, pare::KernelName::avx2, pare::KernelName::reference})
      attempt(name + " quantize " + std::string(pare::to_string(force)), [&] {
        return hash_of(pare::quantize<F>(w, {.group_size = group_size}, {.force = force}));
      });
    attempt(name + " bf16 scales", [&] {
      return hash_of(
          pare::quantize<F>(w, {.group_size = group_size,
                                .scale_type = pare::ScaleType::bf16,
                                .range = {.denominator = pare::SymmetricDenominator::largest_code,
                                          .extend_to_zero = false}}));
    });
    if (cols >= 33 && cols < 128)
      attempt(name + " mse clip", [&] {
        return hash_of(pare::quantize<F>(
            w, {.group_size = group_size, .range = {.method = pare::RangeMethod::mse_clip}}));
      });
    const pare::Hessian h = hessian(kind, cols);
    for (const bool act_order : {false, true})
      attempt(name + (act_order ? " gptq act_order" : " gptq"), [&] {
        return hash_of(pare::gptq<F>(
            w, h, {.group_size = group_size, .act_order = act_order, .block_size = 32}));
      });
  }
}

void fake_quantizers(Weights kind) {
  for (const Case& c : cases) {
    const Index rows = c.rows, cols = c.cols;
    const pare::Matrix<float> x = weights(kind, rows, cols);
    pare::Matrix<float> y(x.shape());
    for (const float scale : {0.0078125f, 0.0123f, 1.5e-38f, 0.3f})
      for (const auto policy : {pare::QuotientPolicy::divide, pare::QuotientPolicy::reciprocal})
        for (const auto force : {pare::KernelName::automatic, pare::KernelName::reference}) {
          const std::string name =
              std::string("fake ") + weight_names[static_cast<int>(kind)] + " " +
              std::to_string(cols) + " " + std::to_string(scale) +
              (policy == pare::QuotientPolicy::divide ? " divide " : " reciprocal ") +
              std::string(pare::to_string(force));
          const pare::AffineParameters p{scale, 3};
          const pare::FakeQuantizeOptions options{.lo = -8, .hi = 7, .quotient = policy};
          attempt(name, [&] {
            pare::fake_quantize(x, p, options, y, {.force = force});
            std::uint64_t hash = add(1, y.data(), static_cast<std::size_t>(y.size()) * 4);
            pare::Matrix<float> transposed({x.cols(), x.rows()});
            pare::fake_quantize(x, p, options, transposed.view().transposed());
            hash = add(hash, transposed.data(), static_cast<std::size_t>(y.size()) * 4);
            pare::fake_quantize_backward(x, p, options, x, y);
            return add(hash, y.data(), static_cast<std::size_t>(y.size()) * 4);
          });
          if (scale == 1.5e-38f) continue;
          attempt(name + " scale gradient", [&] {
            pare::Vector<double> d({x.rows()});
            const pare::VectorView<const pare::AffineParameters> every(&p, {x.rows()}, {0});
            pare::learned_scale_backward(x, every, options, 0.25f, x, y, d);
            return add(2, d.data(), static_cast<std::size_t>(d.size()) * 8);
          });
        }
  }
}

/// What is not finite is found.
void bad_weights() {
  for (const std::uint32_t bits : {0x7fc00000u, 0x7f800000u, 0xff800000u})
    for (const Index place : {0, 40, 64}) {
      pare::Matrix<float> w = weights(Weights::usual, 3, 65);
      w(1, place) = std::bit_cast<float>(bits);
      pare::Hessian h(65);
      h.add(weights(Weights::usual, 80, 65));
      attempt("not finite: quantize", [&] { return hash_of(pare::quantize<pare::Int<4>>(w)); });
      attempt("not finite: nf4",
              [&] { return hash_of(pare::quantize<pare::NF4>(w, {.group_size = 16})); });
      attempt("not finite: gptq", [&] { return hash_of(pare::gptq<pare::Int<4>>(w, h)); });
      attempt("not finite: fake", [&] {
        pare::fake_quantize(w, pare::AffineParameters{}, {}, w);
        return std::uint64_t{0};
      });
      attempt("not finite: Hessian", [&] {
        h.add(w);
        return std::uint64_t{0};
      });
    }
}

template <class F>
void all_weights() {
  for (int kind = 0; kind < 8; ++kind) quantizers<F>(static_cast<Weights>(kind));
}

/// Formats apart from the quantizers.
template <class F>
std::uint64_t codes_of(const std::vector<float>& values, const pare::FitOptions& options) {
  const auto p = F::fit(pare::range_of(values.data(), static_cast<Index>(values.size())), options);
  std::uint64_t hash = add(3, &p.scale, sizeof(p.scale));
  for (const float v : values) {
    const auto code = F::encode(v, p);
    hash = add(hash, &code, sizeof(code));
  }
  return hash;
}

void formats() {
  for (const Weights kind : {Weights::usual, Weights::dense, Weights::ties, Weights::large}) {
    const pare::Matrix<float> w = weights(kind, 1, 999);
    const std::vector<float> values(w.data(), w.data() + w.size());
    for (const pare::ScaleType type : {pare::ScaleType::f32, pare::ScaleType::f16}) {
      const std::string name = std::string("formats ") + weight_names[static_cast<int>(kind)];
      print(name + " int8", codes_of<pare::Int<8>>(values, {type}));
      print(name + " uint5", codes_of<pare::UInt<5>>(values, {type}));
      print(name + " fp4", codes_of<pare::FP4>(values, {type}));
    }
  }
  std::uint64_t hash = 4;
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const float value =
        static_cast<float>(pare::Float16::from_bits(static_cast<std::uint16_t>(bits)));
    hash = add(hash, &value, sizeof(value));
    const pare::Float16 back(value);
    hash = add(hash, &back, sizeof(back));
  }
  print("float16", hash);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "flush") {
#if PARE_X86_KERNELS
    _mm_setcsr(_mm_getcsr() | 0x8040u);  // flush to zero, denormals are zero
#endif
  }
  all_weights<pare::Int<4>>();
  all_weights<pare::UInt<3>>();
  all_weights<pare::NF4>();
  all_weights<pare::Ternary>();
  for (int kind = 0; kind < 8; ++kind) fake_quantizers(static_cast<Weights>(kind));
  bad_weights();
  formats();
}
