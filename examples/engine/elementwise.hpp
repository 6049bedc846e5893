#pragma once

#include "pare/core/index.hpp"

/// What happens to activations between matrix products, row by row.
namespace engine {

using pare::Index;

/// y_r += sum of x_i w_ri, for rows of w that lie `stride` apart.
void add_dot_products(const float* x, const float* w, Index stride, Index rows, Index count,
                      float* y);

/// y = x / sqrt(mean(x^2) + eps) * weight. Source: Zhang, Sennrich, "RMSNorm", 2019
void rms_norm_row(const float* x, const float* weight, Index count, float eps, float* y);

/// gate = silu(gate) * up, where silu(g) = g / (1 + exp(-g))
void silu_multiply(float* gate, const float* up, Index count);

/// Softmax of the first `visible` of `count` scores; the rest, the future, becomes 0.
void softmax_row(float* scores, Index visible, Index count);

/// (a, b) = (a cos - b sin, b cos + a sin)
void rotate(float* a, float* b, const float* cosines, const float* sines, Index count);

}  // namespace engine
