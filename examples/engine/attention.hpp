#pragma once

#include <algorithm>

#include "engine/config.hpp"
#include "engine/elementwise.hpp"
#include "engine/scratch_matrix.hpp"
#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/gemm.hpp"

namespace engine {

/// Grouped-query attention of one sequence: causal, to all positions or those in a window, or, of
/// encoders, to all keys.
///
///     out_h = softmax(cap(score_scale q_h k_gᵀ)) v_g,   g = h / (heads / kv_heads)
///
/// Shapes    q and out (tokens, heads * head_dim); k and v (start + tokens, kv_heads * head_dim);
///           query t is at position start + t and sees the last `window` keys of
///           0 .. start + t, or all keys, of which there may be another number than of queries
class Attention {
 public:
  explicit Attention(const ModelConfig& config)
      : dim_(config.head_dim),
        groups_(config.kv_heads),
        heads_(config.heads / config.kv_heads),
        scale_(config.score_scale),
        cap_(config.score_cap),
        causal_(!config.encoder),
        tile_tokens_(std::clamp<Index>(tile_rows / heads_, 1, 64)) {}

  void operator()(pare::MatrixView<const float> q, pare::MatrixView<const float> k,
                  pare::MatrixView<const float> v, Index start, Index window,
                  pare::MatrixView<float> out, const pare::Execution& execution) const {
    const Index tiles = pare::ceil_div(q.rows(), tile_tokens_);
    const Index work = q.cols() * q.rows() * k.rows();
    const auto loop = work < pare::parallel_grain ? pare::ParallelFor() : execution.parallel_for;
    loop(groups_ * tiles, [&](Index task) {
      const Index group = task / tiles;
      attend(q, k.slice(1, group * dim_, dim_), v.slice(1, group * dim_, dim_), start, window,
             group, task % tiles * tile_tokens_, out);
    });
  }

 private:
  /// Queries handled at once, of all heads that share keys: bounds the scores kept.
  static constexpr Index tile_rows = 256;

  /// One group's heads for some tokens from `first` on. Row t * heads + h of what is in between
  /// belongs to token t, head h.
  void attend(pare::MatrixView<const float> q, pare::MatrixView<const float> k,
              pare::MatrixView<const float> v, Index start, Index window, Index group, Index first,
              pare::MatrixView<float> out) const {
    const Index tokens = std::min(tile_tokens_, q.rows() - first);
    const Index end = causal_ ? start + first + tokens : k.rows();
    // Keys before those of the first query are seen by none.
    const auto begin_of = [&](Index position) {
      return causal_ ? std::max<Index>(0, position + 1 - window) : 0;
    };
    const Index begin = begin_of(start + first), keys = end - begin;
    const Index rows = tokens * heads_, width = heads_ * dim_;
    thread_local pare::Workspace workspace;
    const ScratchMatrix heads(&workspace, rows, dim_), scores(&workspace, rows, keys);
    float* const values = heads.view().data();
    for (Index t = 0; t < tokens; ++t)
      std::copy_n(&q(first + t, group * width), width, values + t * width);
    std::fill_n(scores.view().data(), rows * keys, 0.0f);
    pare::gemm(scale_, heads, k.slice(0, begin, keys).transposed(), scores);
    if (cap_ > 0.0f) soft_cap(scores.view().data(), cap_, rows * keys);
    for (Index row = 0; row < rows; ++row) {
      const Index position = start + first + row / heads_, unseen = begin_of(position) - begin;
      float* const seen = std::fill_n(&scores.view()(row, 0), unseen, 0.0f);
      softmax_row(seen, causal_ ? position + 1 - begin - unseen : keys, keys - unseen);
    }
    std::fill_n(values, rows * dim_, 0.0f);
    pare::gemm(1.0f, scores, v.slice(0, begin, keys), heads);
    for (Index t = 0; t < tokens; ++t)
      std::copy_n(values + t * width, width, &out(first + t, group * width));
  }

  Index dim_, groups_, heads_;  // heads per group
  float scale_, cap_;
  bool causal_;
  Index tile_tokens_;
};

}  // namespace engine
