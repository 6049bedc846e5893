#include "engine/elementwise.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

// Compiled with -fopenmp-simd: `omp simd` loops are vectorized at -O2, sums and maxima too.
#if defined(__x86_64__) && defined(__GNUC__)
// One copy for each instruction set; the best for this CPU is chosen when the program starts.
#define ENGINE_VECTORIZED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define ENGINE_VECTORIZED
#endif

namespace engine {
namespace {

/// Beyond this e^x is not a normal number.
constexpr float exponent_limit = 87.0f;

/// e^x for |x| <= exponent_limit, with a relative error of about 1e-7. Without branches and calls,
/// so that loops over it are vectorized.
/// Source    Cephes, expf
inline float exponential(float x) {
  constexpr float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  constexpr float round = 0x1.8p23f;  // adding it leaves an integer in the low bits
  const float shifted = x * log2_e + round, n = shifted - round;
  const float r = x - n * ln2_high - n * ln2_low;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const std::int32_t exponent = std::bit_cast<std::int32_t>(shifted) << 23;
  return (p * r * r + r + 1.0f) * std::bit_cast<float>(exponent + 0x3f800000);
}

/// Values handled at once where exponents are kept beside them.
constexpr Index piece_size = 256;

/// x = e^x, where x beyond the limits counts as they do; at most `piece_size` values.
[[gnu::always_inline]] inline void exponentials(float* x, Index count) {
  // Loops of their own: a compiler that sees what follows from a limit makes branches again.
#pragma omp simd
  for (Index i = 0; i < count; ++i) x[i] = x[i] > exponent_limit ? exponent_limit : x[i];
#pragma omp simd
  for (Index i = 0; i < count; ++i) x[i] = x[i] < -exponent_limit ? -exponent_limit : x[i];
#pragma omp simd
  for (Index i = 0; i < count; ++i) x[i] = exponential(x[i]);
}

/// Of at least one value.
inline float maximum(const float* x, Index count) {
  constexpr Index lanes = 16;
  float largest[lanes];
  std::fill_n(largest, lanes, x[0]);
  Index i = 0;
  for (; i + lanes <= count; i += lanes) {
#pragma omp simd
    for (Index l = 0; l < lanes; ++l) largest[l] = x[i + l] > largest[l] ? x[i + l] : largest[l];
  }
  for (; i < count; ++i) largest[0] = std::max(largest[0], x[i]);
  return *std::max_element(largest, largest + lanes);
}

}  // namespace

ENGINE_VECTORIZED
void add_dot_products(const float* x, const float* w, Index stride, Index rows, Index count,
                      float* y) {
  // Four rows at once: memory serves several streams faster than one.
  for (Index row = 0; row < rows; row += 4) {
    const auto at = [&](Index r) { return w + std::min(row + r, rows - 1) * stride; };
    const float *w0 = at(0), *w1 = at(1), *w2 = at(2), *w3 = at(3);
    float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
    for (Index i = 0; i < count; ++i) {
      s0 += x[i] * w0[i];
      s1 += x[i] * w1[i];
      s2 += x[i] * w2[i];
      s3 += x[i] * w3[i];
    }
    const float sums[] = {s0, s1, s2, s3};
    for (Index r = 0; r < std::min<Index>(4, rows - row); ++r) y[row + r] += sums[r];
  }
}

ENGINE_VECTORIZED
void rms_norm_row(const float* x, const float* weight, float offset, Index count, float eps,
                  float* y) {
  double squares = 0.0;
#pragma omp simd reduction(+ : squares)
  for (Index i = 0; i < count; ++i)
    squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const float inverse =
      1.0f / std::sqrt(static_cast<float>(squares / static_cast<double>(count)) + eps);
#pragma omp simd
  for (Index i = 0; i < count; ++i) y[i] = x[i] * inverse * (weight[i] + offset);
}

ENGINE_VECTORIZED
void layer_norm_row(const float* x, const float* weight, const float* bias, Index count, float eps,
                    float* y) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < count; ++i) sum += static_cast<double>(x[i]);
  const double mean = sum / static_cast<double>(count);
  double squares = 0.0;
#pragma omp simd reduction(+ : squares)
  for (Index i = 0; i < count; ++i) {
    const double deviation = static_cast<double>(x[i]) - mean;
    squares += deviation * deviation;
  }
  const float center = static_cast<float>(mean);
  const float inverse =
      1.0f / std::sqrt(static_cast<float>(squares / static_cast<double>(count)) + eps);
#pragma omp simd
  for (Index i = 0; i < count; ++i) y[i] = (x[i] - center) * inverse * weight[i];
  if (bias) add(bias, y, count);
}

ENGINE_VECTORIZED
void silu_multiply(float* gate, const float* up, Index count) {
  float exponents[piece_size];
  for (Index first = 0; first < count; first += piece_size) {
    const Index length = std::min(piece_size, count - first);
    float* const g = gate + first;
    const float* const u = up + first;
#pragma omp simd
    for (Index i = 0; i < length; ++i) exponents[i] = -g[i];
    exponentials(exponents, length);
#pragma omp simd
    for (Index i = 0; i < length; ++i) g[i] = g[i] / (1.0f + exponents[i]) * u[i];
  }
}

ENGINE_VECTORIZED
void silu(float* x, Index count) {
  float exponents[piece_size];
  for (Index first = 0; first < count; first += piece_size) {
    const Index length = std::min(piece_size, count - first);
    float* const y = x + first;
#pragma omp simd
    for (Index i = 0; i < length; ++i) exponents[i] = -y[i];
    exponentials(exponents, length);
#pragma omp simd
    for (Index i = 0; i < length; ++i) y[i] = y[i] / (1.0f + exponents[i]);
  }
}

ENGINE_VECTORIZED
void gelu(float* x, Index count) {
  // What a normal distribution has beyond |x|: Abramowitz, Stegun, "Handbook of Mathematical
  // Functions", 7.1.26.
  float exponents[piece_size];
  for (Index first = 0; first < count; first += piece_size) {
    const Index length = std::min(piece_size, count - first);
    float* const y = x + first;
#pragma omp simd
    for (Index i = 0; i < length; ++i) exponents[i] = -0.5f * y[i] * y[i];
    exponentials(exponents, length);
#pragma omp simd
    for (Index i = 0; i < length; ++i) {
      const float t = 1.0f / (1.0f + 0.3275911f * 0.707106781f * std::fabs(y[i]));
      float p = 1.061405429f;
      p = p * t - 1.453152027f;
      p = p * t + 1.421413741f;
      p = p * t - 0.284496736f;
      p = p * t + 0.254829592f;
      const float tail = 0.5f * p * t * exponents[i];
      y[i] = (y[i] > 0.0f ? y[i] : 0.0f) - std::fabs(y[i]) * tail;
    }
  }
}

ENGINE_VECTORIZED
void gelu_tanh(float* x, Index count) {
  constexpr float twice_root = 1.59576912f;  // 2 sqrt(2 / pi)
  float exponents[piece_size];
  for (Index first = 0; first < count; first += piece_size) {
    const Index length = std::min(piece_size, count - first);
    float* const y = x + first;
#pragma omp simd
    for (Index i = 0; i < length; ++i)
      exponents[i] = -twice_root * (y[i] + 0.044715f * y[i] * y[i] * y[i]);
    exponentials(exponents, length);
#pragma omp simd
    for (Index i = 0; i < length; ++i) y[i] = y[i] / (1.0f + exponents[i]);
  }
}

ENGINE_VECTORIZED
void relu(float* x, Index count) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) x[i] = x[i] < 0.0f ? 0.0f : x[i];
}

ENGINE_VECTORIZED
void multiply(const float* x, float* y, Index count) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) y[i] *= x[i];
}

ENGINE_VECTORIZED
void add(const float* x, float* y, Index count) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) y[i] += x[i];
}

ENGINE_VECTORIZED
void soft_cap(float* x, float cap, Index count) {
  const float inverse = 1.0f / cap;
  float far[piece_size], near[piece_size];
  for (Index first = 0; first < count; first += piece_size) {
    const Index length = std::min(piece_size, count - first);
    float* const y = x + first;
#pragma omp simd
    for (Index i = 0; i < length; ++i) far[i] = 2.0f * inverse * y[i];
    exponentials(far, length);
    // The first terms of a continued fraction, where the other form cancels.
#pragma omp simd
    for (Index i = 0; i < length; ++i) {
      const float z = y[i] * inverse, square = z * z;
      near[i] =
          z * (945.0f + square * (105.0f + square)) / (945.0f + square * (420.0f + 15.0f * square));
      far[i] = 1.0f - 2.0f / (1.0f + far[i]);
    }
#pragma omp simd
    for (Index i = 0; i < length; ++i)
      y[i] = cap * (std::fabs(y[i] * inverse) < 0.6f ? near[i] : far[i]);
  }
}

ENGINE_VECTORIZED
void softmax_row(float* scores, Index visible, Index count) {
  const float largest = maximum(scores, visible);
  float sum = 0.0f;
#pragma omp simd
  for (Index i = 0; i < visible; ++i) {
    const float x = scores[i] - largest;
    scores[i] = x < -exponent_limit ? -exponent_limit : x;
  }
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < visible; ++i) {
    scores[i] = exponential(scores[i]);
    sum += scores[i];
  }
  const float inverse = 1.0f / sum;
#pragma omp simd
  for (Index i = 0; i < visible; ++i) scores[i] *= inverse;
  std::fill(scores + visible, scores + count, 0.0f);
}

ENGINE_VECTORIZED
void rotate(float* a, float* b, const float* cosines, const float* sines, Index count) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) {
    const float rotated = a[i] * cosines[i] - b[i] * sines[i];
    b[i] = b[i] * cosines[i] + a[i] * sines[i];
    a[i] = rotated;
  }
}

ENGINE_VECTORIZED
void rotate_neighbours(float* x, const float* cosines, const float* sines, Index count) {
#pragma omp simd
  for (Index i = 0; i < count; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cosines[i] - b * sines[i];
    x[2 * i + 1] = b * cosines[i] + a * sines[i];
  }
}

}  // namespace engine
