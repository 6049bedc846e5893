#pragma once

#include <cstddef>

/// y = x wᵀ by Eigen, in a unit of its own: compiled with -march=native, as Eigen's documentation
/// advises, it must share no inline function with code for the plain instruction set.
///
/// Shapes    x (tokens, in), w (out, in), y (tokens, out) with rows `y_stride` elements apart
void eigen_product(const float* x, std::ptrdiff_t tokens, const float* w, std::ptrdiff_t out,
                   std::ptrdiff_t in, float* y, std::ptrdiff_t y_stride);
