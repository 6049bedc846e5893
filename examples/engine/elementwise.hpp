#pragma once

#include "pare/core/index.hpp"

/// What happens to activations between matrix products, row by row.
namespace engine {

using pare::Index;

/// y_r += sum of x_i w_ri, for rows of w that lie `stride` apart.
void add_dot_products(const float* x, const float* w, Index stride, Index rows, Index count,
                      float* y);

/// y = x / sqrt(mean(x^2) + eps) * (weight + offset). Source: Zhang, Sennrich, "RMSNorm", 2019
void rms_norm_row(const float* x, const float* weight, float offset, Index count, float eps,
                  float* y);

/// y = (x - mean) / sqrt(variance + eps) * weight + bias; the bias may be null.
/// Source: Ba et al., "Layer Normalization", 2016
void layer_norm_row(const float* x, const float* weight, const float* bias, Index count, float eps,
                    float* y);

/// gate = silu(gate) * up, where silu(g) = g / (1 + exp(-g))
void silu_multiply(float* gate, const float* up, Index count);

/// x = f(x). To about 1e-6 of the values, gelu of large negative numbers to 1e-7 of 1.
/// Source: Hendrycks, Gimpel, "Gaussian Error Linear Units", 2016
void silu(float* x, Index count);
void gelu(float* x, Index count);
void gelu_tanh(float* x, Index count);
void relu(float* x, Index count);

/// y = x * y, and y = x + y
void multiply(const float* x, float* y, Index count);
void add(const float* x, float* y, Index count);

/// x = cap tanh(x / cap), to about 1e-7 of the cap
void soft_cap(float* x, float cap, Index count);

/// Softmax of the first `visible` of `count` scores; the rest, the future, becomes 0.
void softmax_row(float* scores, Index visible, Index count);

/// (a, b) = (a cos - b sin, b cos + a sin)
void rotate(float* a, float* b, const float* cosines, const float* sines, Index count);
/// The same of neighbours: a and b are x[2i] and x[2i + 1].
void rotate_neighbours(float* x, const float* cosines, const float* sines, Index count);

}  // namespace engine
