#pragma once

#include <algorithm>
#include <cmath>

#include "engine/config.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm.hpp"

namespace engine {

/// Causal grouped-query attention of one sequence.
///
///     out_h = softmax(q_h k_gᵀ / sqrt(head_dim)) v_g,   g = h / (heads / kv_heads)
///
/// Shapes    q and out (tokens, heads * head_dim); k and v (start + tokens, kv_heads * head_dim);
///           query t is at position start + t and sees keys 0 .. start + t
class Attention {
 public:
  explicit Attention(const ModelConfig& config) : config_(config) {}

  void operator()(pare::MatrixView<const float> q, pare::MatrixView<const float> k,
                  pare::MatrixView<const float> v, Index start, pare::MatrixView<float> out,
                  const pare::Execution& execution) const {
    const Index tiles = pare::ceil_div(q.rows(), tile_tokens);
    const Index work = config_.q_size() * q.rows() * (start + q.rows());
    const auto loop = work < pare::parallel_grain ? pare::ParallelFor() : execution.parallel_for;
    loop(config_.heads * tiles, [&](Index task) {
      head_tile(q, k, v, start, task / tiles, (task % tiles) * tile_tokens, out);
    });
  }

 private:
  /// Queries handled at once: bounds the scores kept to 64 rows of the context.
  static constexpr Index tile_tokens = 64;

  void head_tile(pare::MatrixView<const float> q, pare::MatrixView<const float> k,
                 pare::MatrixView<const float> v, Index start, Index head, Index first,
                 pare::MatrixView<float> out) const {
    const Index dim = config_.head_dim;
    const Index group = head / (config_.heads / config_.kv_heads);
    const Index count = std::min(tile_tokens, q.rows() - first);
    const Index keys = start + first + count;
    pare::Matrix<float> scores({count, keys});
    pare::gemm(1.0f / std::sqrt(static_cast<float>(dim)),
               q.slice(0, first, count).slice(1, head * dim, dim),
               k.slice(0, 0, keys).slice(1, group * dim, dim).transposed(), scores.view());
    for (Index t = 0; t < count; ++t) softmax(&scores(t, 0), start + first + t + 1, keys);
    const auto target = out.slice(0, first, count).slice(1, head * dim, dim);
    for (Index t = 0; t < count; ++t) std::fill_n(&target(t, 0), dim, 0.0f);
    pare::gemm(1.0f, pare::MatrixView<const float>(scores),
               v.slice(0, 0, keys).slice(1, group * dim, dim), target);
  }

  /// Softmax of the first `visible` of `count` scores; the rest, the future, becomes 0.
  static void softmax(float* scores, Index visible, Index count) {
    const float largest = *std::max_element(scores, scores + visible);
    float sum = 0.0f;
    for (Index j = 0; j < visible; ++j) sum += scores[j] = std::exp(scores[j] - largest);
    for (Index j = 0; j < visible; ++j) scores[j] /= sum;
    std::fill(scores + visible, scores + count, 0.0f);
  }

  ModelConfig config_;
};

}  // namespace engine
