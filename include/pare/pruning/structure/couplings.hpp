#pragma once

#include <string_view>
#include <variant>

#include "pare/core/index.hpp"

/// How the channels of two axes go together.
///
/// A coupling says to which index of the axis `from` an index j of the axis `to` belongs: that one
/// function is the map in both directions, since the indices that i goes with are those that belong
/// to it. An index may belong to none: `to` then has other parts.
///
/// To add one, write a struct with the four members of those below and name it in `Coupling`.
namespace pare {

/// What `belongs_to` says of an index that belongs to none.
inline constexpr Index no_channel = -1;

/// i with i: a residual sum, activation functions, norms, biases and other vectors of a value per
/// channel, depthwise convolutions, a weight's axis and the activations that it reads or writes.
struct SameChannels {
  static constexpr std::string_view name = "the same channels";
  [[nodiscard]] constexpr bool fits(Index from, Index to) const noexcept { return from == to; }
  [[nodiscard]] constexpr Index belongs_to(Index j, Index /*from*/) const noexcept { return j; }
};

/// i with offset + i: a part of a concatenation, or of what is split.
struct Concatenated {
  static constexpr std::string_view name = "part of a concatenation";
  Index offset = 0;
  [[nodiscard]] constexpr bool fits(Index from, Index to) const noexcept {
    return offset >= 0 && from <= to && offset <= to - from;
  }
  [[nodiscard]] constexpr Index belongs_to(Index j, Index from) const noexcept {
    return j >= offset && j - offset < from ? j - offset : no_channel;
  }
};

/// The outputs of one part of a fused layer: `runs` runs of `length` rows, `step` rows apart.
/// Query, key and value in blocks are one run each; interleaved head by head, a run for each head.
struct FusedPart {
  static constexpr std::string_view name = "part of a fused layer";
  Index first = 0, length = 1;
  Index runs = 1, step = 0;
  [[nodiscard]] constexpr bool fits(Index from, Index to) const noexcept {
    return first >= 0 && length > 0 && runs > 0 && from % length == 0 && from / length == runs &&
           length <= to && first <= to - length &&
           (runs == 1 || (step >= length && runs - 1 <= (to - length - first) / step));
  }
  [[nodiscard]] constexpr Index belongs_to(Index j, Index /*from*/) const noexcept {
    if (j < first) return no_channel;
    const Index run = runs == 1 ? 0 : (j - first) / step, within = j - first - run * step;
    return run < runs && within < length ? run * length + within : no_channel;
  }
};

/// i with the block [i * stride, (i + 1) * stride): channels of a picture laid out as (channel,
/// height, width), rows of a head, rows of all query heads that share a key and value.
struct Flattened {
  static constexpr std::string_view name = "blocks of a stride";
  Index stride = 1;
  [[nodiscard]] constexpr bool fits(Index from, Index to) const noexcept {
    return stride > 0 && to % stride == 0 && to / stride == from;
  }
  [[nodiscard]] constexpr Index belongs_to(Index j, Index /*from*/) const noexcept {
    return j / stride;
  }
};

/// i with i, n + i, 2 n + i, ..., n the extent of `from`: the same place in each group of a grouped
/// convolution or in each head, channels laid out as (height, width, channel), the two halves that
/// a rotation turns together.
struct Repeated {
  static constexpr std::string_view name = "repetitions";
  [[nodiscard]] constexpr bool fits(Index from, Index to) const noexcept { return to % from == 0; }
  [[nodiscard]] constexpr Index belongs_to(Index j, Index from) const noexcept { return j % from; }
};

/// Row d of key-value head h with row d of the query heads times * h, ..., times * h + times - 1:
/// what a grouped head's value becomes in the input of the attention's output layer.
struct ExpandedHeads {
  static constexpr std::string_view name = "expanded heads";
  Index times = 1, head_dim = 1;
  [[nodiscard]] constexpr bool fits(Index from, Index to) const noexcept {
    return times > 0 && head_dim > 0 && to % times == 0 && to / times == from &&
           from % head_dim == 0;
  }
  [[nodiscard]] constexpr Index belongs_to(Index j, Index /*from*/) const noexcept {
    return j / head_dim / times * head_dim + j % head_dim;
  }
};

/// All of them: the only list.
using Coupling =
    std::variant<SameChannels, Concatenated, FusedPart, Flattened, Repeated, ExpandedHeads>;

}  // namespace pare
