#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include "training/operations/product.hpp"

namespace training {

/// What attention computes: see engine::Attention.
struct AttentionSettings {
  Index heads = 0, kv_heads = 0, head_dim = 0;
  Index length = 0;  ///< of each sequence
  Index window = 0;  ///< keys that a position sees, itself the last
  double scale = 1.0;
  double cap = 0.0;  ///< scores are cap tanh(scores / cap); 0 for none
  bool causal = true;
  /// Of all sequences: 0 for tokens that no other sees; empty where all are seen. Of each sequence
  /// one is.
  std::span<const std::uint8_t> visible{};
};

/// Queries at once: later keys of a tile are computed for nothing, shorter ones make small
/// products.
inline constexpr Index attention_tile = 64;

/// Which queries are together, and which keys they see.
struct AttentionTile {
  Index first, count, begin, end;  ///< queries [first, first + count), keys [begin, end)

  AttentionTile(const AttentionSettings& s, Index at)
      : first(at),
        count(std::min(attention_tile, s.length - at)),
        begin(s.causal ? std::max<Index>(0, at + 1 - std::min(s.window, s.length)) : 0),
        end(s.causal ? at + count : s.length) {}
  /// The keys that a query sees.
  [[nodiscard]] Index first_key(const AttentionSettings& s, Index query) const {
    return s.causal ? std::max<Index>(0, query + 1 - std::min(s.window, s.length)) : 0;
  }
  [[nodiscard]] Index last_key(const AttentionSettings& s, Index query) const {
    return s.causal ? query + 1 : s.length;
  }
};

/// A head of a sequence, of stacked sequences (sequences * length, heads * head_dim).
template <class T>
[[nodiscard]] pare::MatrixView<T> head_of(const AttentionSettings& s, pare::MatrixView<T> x,
                                          Index sequence, Index head) {
  return x.slice(0, sequence * s.length, s.length).slice(1, head * s.head_dim, s.head_dim);
}

/// Probabilities of a head of a sequence: (length, length) of all of them, one below the other.
template <class T>
[[nodiscard]] pare::MatrixView<T> probabilities_of(const AttentionSettings& s,
                                                   pare::MatrixView<T> all, Index sequence,
                                                   Index head) {
  return all.slice(0, (sequence * s.heads + head) * s.length, s.length);
}

/// scores = cap(scale q kᵀ) of a tile; where there is a cap, `slopes` become its derivative.
template <Scalar S>
void attention_scores(const AttentionSettings& s, const AttentionTile& tile,
                      pare::MatrixView<const S> q, pare::MatrixView<const S> k,
                      pare::MatrixView<S> scores, pare::MatrixView<S> slopes = {}) {
  using std::tanh;
  for (Index i = 0; i < scores.rows(); ++i) std::fill_n(&scores(i, 0), scores.cols(), S{0});
  add_product<S>(s.scale, q.slice(0, tile.first, tile.count),
                 k.slice(0, tile.begin, tile.end - tile.begin).transposed(), scores);
  if (s.cap <= 0.0) return;
  for (Index i = 0; i < scores.rows(); ++i)
    for (Index j = 0; j < scores.cols(); ++j) {
      const S t = tanh(scores(i, j) / S(s.cap));
      scores(i, j) = S(s.cap) * t;
      if (!slopes.empty()) slopes(i, j) = S{1} - t * t;
    }
}

/// e^(x - the largest) / their sum, of `count` scores.
template <Scalar S>
void softmax(S* scores, Index count) {
  using std::exp;
  S largest = scores[0], sum{};
  for (Index j = 1; j < count; ++j) largest = scores[j] > largest ? scores[j] : largest;
  for (Index j = 0; j < count; ++j) sum += scores[j] = exp(scores[j] - largest);
  for (Index j = 0; j < count; ++j) scores[j] /= sum;
}

/// out = softmax(cap(scale q kᵀ)) v for every head of every sequence; heads that share keys and
/// values follow one another.
///
/// Shapes    q, out (sequences * length, heads * head_dim), k, v (.., kv_heads * head_dim);
///           probabilities (sequences * heads * length, length), replaced and kept for the way
///           back; what is not seen is 0
template <Scalar S>
void attention(const AttentionSettings& s, pare::MatrixView<const S> q, pare::MatrixView<const S> k,
               pare::MatrixView<const S> v, pare::MatrixView<S> probabilities,
               pare::MatrixView<S> out, const pare::Execution& execution) {
  const Index sequences = q.rows() / s.length, shared = s.heads / s.kv_heads;
  execution.parallel_for(sequences * s.heads, [&](Index task) {
    const Index sequence = task / s.heads, head = task % s.heads;
    const auto p = probabilities_of(s, probabilities, sequence, head);
    const auto own_q = head_of(s, q, sequence, head);
    const auto own_k = head_of(s, k, sequence, head / shared);
    const auto own_v = head_of(s, v, sequence, head / shared);
    const auto own_out = head_of(s, out, sequence, head);
    for (Index at = 0; at < s.length; at += attention_tile) {
      const AttentionTile tile(s, at);
      const Index keys = tile.end - tile.begin;
      const auto rows = p.slice(0, tile.first, tile.count);
      attention_scores<S>(s, tile, own_q, own_k, rows.slice(1, tile.begin, keys));
      for (Index i = 0; i < tile.count; ++i) {
        const Index begin = tile.first_key(s, at + i), end = tile.last_key(s, at + i);
        std::fill_n(&rows(i, 0), begin, S{0});
        if (!s.visible.empty())
          for (Index j = begin; j < end; ++j)
            if (!s.visible[static_cast<std::size_t>(sequence * s.length + j)])
              rows(i, j) = S(-std::numeric_limits<double>::infinity());
        softmax(&rows(i, begin), end - begin);
        std::fill(&rows(i, 0) + end, &rows(i, 0) + s.length, S{0});
        std::fill_n(&own_out(at + i, 0), s.head_dim, S{0});
      }
      add_product<S>(1.0, rows.slice(1, tile.begin, keys), own_v.slice(0, tile.begin, keys),
                     own_out.slice(0, tile.first, tile.count));
    }
  });
}

/// Adds to dq, dk and dv; probabilities are those of the way forward.
template <Scalar S>
void attention_backward(const AttentionSettings& s, pare::MatrixView<const S> q,
                        pare::MatrixView<const S> k, pare::MatrixView<const S> v,
                        pare::MatrixView<const S> probabilities, pare::MatrixView<const S> dout,
                        pare::MatrixView<S> dq, pare::MatrixView<S> dk, pare::MatrixView<S> dv,
                        const pare::Execution& execution) {
  const Index sequences = q.rows() / s.length, shared = s.heads / s.kv_heads;
  execution.parallel_for(sequences * s.kv_heads, [&](Index task) {
    const Index sequence = task / s.kv_heads, group = task % s.kv_heads;
    const auto own_k = head_of(s, k, sequence, group), own_v = head_of(s, v, sequence, group);
    const auto own_dk = head_of(s, dk, sequence, group), own_dv = head_of(s, dv, sequence, group);
    thread_local pare::AlignedVector<S> memory;
    const Index most = attention_tile * s.length;
    memory.resize(static_cast<std::size_t>(3 * most));
    for (Index head = group * shared; head < (group + 1) * shared; ++head) {
      const auto p = probabilities_of(s, probabilities, sequence, head);
      const auto own_q = head_of(s, q, sequence, head);
      const auto own_dq = head_of(s, dq, sequence, head);
      const auto own_dout = head_of(s, dout, sequence, head);
      for (Index at = 0; at < s.length; at += attention_tile) {
        const AttentionTile tile(s, at);
        const Index keys = tile.end - tile.begin;
        const pare::Shape<2> shape{tile.count, keys};
        const pare::MatrixView<S> dscores(memory.data(), shape);
        const auto rows = p.slice(0, tile.first, tile.count).slice(1, tile.begin, keys);
        const auto queries = own_q.slice(0, tile.first, tile.count);
        const auto seen_k = own_k.slice(0, tile.begin, keys);
        const auto upstream = own_dout.slice(0, tile.first, tile.count);
        add_product<S>(1.0, rows.transposed(), upstream, own_dv.slice(0, tile.begin, keys));
        std::fill_n(dscores.data(), dscores.size(), S{0});
        add_product<S>(1.0, upstream, own_v.slice(0, tile.begin, keys).transposed(), dscores);
        for (Index i = 0; i < tile.count; ++i) {
          S* const row = &dscores(i, 0);
          const S* const weight = &rows(i, 0);
          S along{};
          for (Index j = 0; j < keys; ++j) along += row[j] * weight[j];
          for (Index j = 0; j < keys; ++j) row[j] = weight[j] * (row[j] - along);
        }
        if (s.cap > 0.0) {
          const pare::MatrixView<S> scores(memory.data() + most, shape);
          const pare::MatrixView<S> slopes(memory.data() + 2 * most, shape);
          attention_scores<S>(s, tile, own_q, own_k, scores, slopes);
          for (Index i = 0; i < dscores.size(); ++i) dscores.data()[i] *= slopes.data()[i];
        }
        add_product<S>(s.scale, dscores, seen_k, own_dq.slice(0, tile.first, tile.count));
        add_product<S>(s.scale, dscores.transposed(), queries, own_dk.slice(0, tile.begin, keys));
      }
    }
  });
}

}  // namespace training
