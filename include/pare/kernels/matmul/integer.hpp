#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <span>

#include "pare/core/config.hpp"
#include "pare/kernels/layout/expanded_pair.hpp"
#include "pare/kernels/matmul/integer_arrangement.hpp"
#include "pare/kernels/matmul/integer_choice.hpp"
#include "pare/kernels/matmul/integer_product.hpp"
#include "pare/kernels/matmul/strip_product.hpp"

/// int8 activations times packed codes: choice of tiles, loops, memory.
///
///     y = s_x (sum over segments of s_w (sum a u - c sum a) - z_x sum w) + bias
///
/// a: activation codes, u: weights as unsigned integers that count from c, the center of the
/// format or the zero point of the group. The sums over a segment are exact.
namespace pare::kernels {

namespace detail {

/// Tiles that read packed codes.
inline void multiply_few(const IntegerProduct& p, const IntegerArrangement& x, Index first_panel,
                         Index last_panel) {
  const Index step = p.kernel->few_panels, channels = step * panel_channels;
  for (Index panel = first_panel; panel < last_panel; panel += step) {
    const Index channel = panel * panel_channels;
    const PackedPanel panels[] = {p.w.panel(panel),
                                  p.w.panel(std::min(panel + 1, p.w.panels() - 1))};
    IntegerResult result{nullptr, 0,   p.start + channel, p.bias + channel, p.accumulate, nullptr,
                         true,    true};
    for_each_tile(x.tiles(), 0, x.tiles().count(), [&](Index token, Index count) {
      with_result(p, token, count, channel, channels, result, [&] {
        p.kernel->few[count](panels, x.segments(), x.segment_count(), x.tile(token, count, 0, 0),
                             result);
      });
    });
  }
}

/// Two streams of bytes that the tiles of a piece ask far memory for, a part each.
struct Ahead {
  const char *first, *second;
  Index stream_bytes, tile_bytes, step_bytes;

  [[nodiscard]] const char* address(Index tile) const noexcept {
    const Index at = tile * tile_bytes;
    return at < stream_bytes ? first + at : second + (at - stream_bytes);
  }
  /// Whether a tile is the first that asks for the second stream.
  [[nodiscard]] bool turns(Index tile) const noexcept {
    const Index at = tile * tile_bytes;
    return at >= stream_bytes && at - tile_bytes < stream_bytes;
  }
};

/// Decodes the panels of a tile piece by piece and runs tiles of many tokens on them.
class DecodedProduct {
 public:
  DecodedProduct(const IntegerProduct& p, const IntegerArrangement& x, Index panel)
      : p_(p),
        x_(x),
        channel_(panel * panel_channels),
        // A last panel without a neighbour is its own: the result is dropped.
        panels_{p.w.panel(panel), p.w.panel(std::min(panel + 1, p.w.panels() - 1))},
        weights_(p.kernel->weights),
        row_(x.segment_count() == 1) {}

  void run(Index first_tile, Index last_tile) {
    const TokenTiles& tiles = x_.tiles();
    const Index step = weights_.in_place && row_
                           ? last_tile - first_tile
                           : std::max<Index>(1, p_.tuning.int8_tokens / tiles.largest());
    for (Index tile = first_tile; tile < last_tile; tile += step)
      run_tiles(tile, std::min(last_tile, tile + step));
  }

 private:
  void run_tiles(Index first_tile, Index last_tile) {
    const Index unit_limit = p_.tuning.int8_columns / p_.w.unit;
    const Segment* segments = x_.segments();
    if (row_) {
      // Pieces are whole steps.
      const Index step_units = std::max<Index>(1, 4 * x_.shape().step_quads / p_.w.unit);
      const Index units = segments[0].units;
      const Index step = weights_.in_place ? units : round_up(unit_limit, step_units);
      for (Index unit = 0; unit < units; unit += step) {
        const Segment piece{unit, std::min(step, units - unit), 0, 0};
        run_piece(&piece, 1, 0, unit == 0, unit + step >= units, first_tile, last_tile);
      }
      return;
    }
    for (Index s = 0; s < x_.segment_count();) {
      Index count = 0, units = 0;
      while (s + count < x_.segment_count() && count < decoded_segments &&
             (count == 0 || units + segments[s + count].units <= unit_limit))
        units += segments[s + count++].units;
      run_piece(segments + s, count, s, s == 0, s + count == x_.segment_count(), first_tile,
                last_tile);
      s += count;
    }
  }

  /// Segments that are the arrangement's from `at` on.
  void run_piece(const Segment* segments, Index count, Index at, bool first, bool last,
                 Index first_tile, Index last_tile) {
    IntegerWeights w = decode(segments, count);
    const Ahead ahead = ahead_of(segments, count, last, last_tile - first_tile);
    w.ahead_step_bytes = ahead.step_bytes;
    IntegerResult result{
        nullptr, 0, p_.start + channel_, p_.bias + channel_, p_.accumulate, partials_, first, last};
    const bool whole = p_.y.cols() - channel_ >= weights_.channels();
    const auto& table = row_ ? p_.kernel->row : p_.kernel->group;
    const TokenTiles& tiles = x_.tiles();
    for (Index tile = first_tile; tile < last_tile;) {
      const Index token = tiles.begin(tile), tokens = tiles.size(tile);
      TileRun run{1, x_.arranged_columns() * tokens * operand_bytes(weights_.operand),
                  x_.segment_count() * tokens, ahead.tile_bytes};
      w.ahead = ahead.address(tile - first_tile);
      while (whole && tile + run.tiles < last_tile && tiles.size(tile + run.tiles) == tokens &&
             !tiles.is_padded(tile + run.tiles) && !ahead.turns(tile - first_tile + run.tiles))
        ++run.tiles;
      const auto multiply = [&] {
        table[tokens](w, x_.tile(token, tokens, at, segments[0].first_unit), result, run);
      };
      if (last)
        with_result(p_, token, tokens, channel_, weights_.channels(), result, multiply);
      else
        multiply();
      result.partial += run.tiles * tokens * weights_.channels();
      tile += run.tiles;
    }
  }

  /// The packed codes that are read after these segments, one panel's after the other's: tiles
  /// ask for them, otherwise far memory idles while they compute.
  [[nodiscard]] Ahead ahead_of(const Segment* segments, Index count, bool last,
                               Index tiles) const noexcept {
    const Segment& end = segments[count - 1];
    const Index units = end.first_unit + end.units - segments[0].first_unit;
    const Index panel_words = panels_[0].units * p_.w.unit_words;
    const Index from =
        last ? weights_.panels * panel_words : (end.first_unit + end.units) * p_.w.unit_words;
    const auto* next = reinterpret_cast<const char*>(panels_[0].codes + from);
    const Index stream_bytes = 4 * units * p_.w.unit_words;
    const Index tile_bytes = weights_.panels * stream_bytes / tiles;
    return {next, next + 4 * panel_words, stream_bytes, tile_bytes,
            ceil_div(tile_bytes, units * p_.w.unit / 4)};
  }

  [[nodiscard]] IntegerWeights decode(const Segment* segments, Index count) {
    Index units = 0;
    for (Index s = 0; s < count; ++s) units += segments[s].units;
    const Index panel_bytes = units * p_.w.unit * panel_channels * operand_bytes(weights_.operand);
    for (Index i = 0; i < weights_.panels; ++i)
      p_.kernel->decode(panels_[static_cast<std::size_t>(i)], segments, count,
                        weights_.in_place ? nullptr : codes_ + i * panel_bytes,
                        scales_ + i * panel_channels, zero_points_ + i * panel_channels);
    IntegerWeights w{codes_, panel_bytes,   scales_, nullptr, segments,
                     count,  p_.w.unit / 4, nullptr, 0};
    if (weights_.zero_points_apart && panels_[0].zero_points) w.zero_points = zero_points_;
    if (weights_.in_place) {
      const auto start = [&](const PackedPanel& panel) {
        return reinterpret_cast<const std::uint8_t*>(panel.codes +
                                                     segments[0].first_unit * p_.w.unit_words);
      };
      w.codes = start(panels_[0]);
      w.panel_bytes = start(panels_[1]) - w.codes;
    }
    return w;
  }

  /// A segment is decoded whole, however little is asked for.
  static constexpr Index decoded_columns = std::max(largest_tuning.int8_columns, max_segment);

  const IntegerProduct& p_;
  const IntegerArrangement& x_;
  Index channel_;
  std::array<PackedPanel, 2> panels_;
  TileWeights weights_;
  bool row_;
  alignas(64) std::uint8_t codes_[decoded_columns * pair_channels];
  alignas(64) float scales_[decoded_segments * pair_channels];
  alignas(64) std::int32_t zero_points_[decoded_segments * pair_channels];
  alignas(64) float partials_[(largest_tuning.int8_tokens + max_tile_tokens) * pair_channels];
};

[[nodiscard]] inline ArrangementShape arrangement_shape(const QuantizedActivationsView& x,
                                                        const PackedView& w,
                                                        const IntegerKernel& kernel,
                                                        const SparseKernel* sparse) {
  ArrangementShape shape{w.group_length,
                         w.padded_group(),
                         w.padded_cols(),
                         w.groups(),
                         w.unit,
                         w.order,
                         kernel.few.largest(),
                         1,
                         0,
                         true,
                         kernel.few_operand(),
                         0};
  if (sparse) {
    shape.operand = Operand::u8_by_s8;
    shape.tile_tokens = sparse->tiles.largest();
    shape.few = false;
    return shape;
  }
  if (x.tokens() <= shape.tile_tokens || !kernel.decode || w.cols == 0) {
    shape.offset_factor = w.first.zero_points ? -1 : -packed_center(w, shape.operand);
    return shape;
  }
  shape.few = false;
  shape.operand = kernel.weights.operand;
  if (kernel.weights.token_rows) shape.step_quads = step_quads(w, x.group_length());
  const bool row = w.groups() == 1 && x.groups() <= 1 && w.cols <= max_row_sum;
  const auto& table = row ? kernel.row : kernel.group;
  shape.tile_tokens = table.largest();
  shape.tile_step = table.step();
  shape.offset_factor = w.first.zero_points && kernel.weights.zero_points_apart
                            ? -1
                            : -decoded_center(w, shape.operand);
  return shape;
}

/// Some panels of a product, some tiles of tokens.
inline void multiply_panels(const IntegerProduct& p, const IntegerArrangement& x, Index first_panel,
                            Index last_panel, Index first_tile, Index last_tile) {
  if (x.shape().few) return multiply_few(p, x, first_panel, last_panel);
  for (Index panel = first_panel; panel < last_panel; panel += p.kernel->weights.panels)
    DecodedProduct(p, x, panel).run(first_tile, last_tile);
}

/// The same of a sparse weight, by the kernel of a dense one.
inline void multiply_expanded(const IntegerProduct& p, const IntegerArrangement& x,
                              Index first_panel, Index last_panel, Index first_tile,
                              Index last_tile) {
  ExpandedPair pair(p.w);
  for (Index panel = first_panel; panel < last_panel; panel += 2) {
    const Index channel = panel * panel_channels;
    IntegerProduct part = p;
    part.w = pair.expand(panel);
    part.y = p.y.slice(1, channel, part.w.rows);
    part.start += channel;
    part.bias += channel;
    multiply_panels(part, x, 0, part.w.panels(), first_tile, last_tile);
  }
}

/// Products whose activations are arranged alike.
inline void multiply_integer(std::span<const IntegerProduct> products, const IntegerArrangement& x,
                             const Execution& execution) {
  // One loop over the panels of all products for each part of the tokens.
  std::array<Index, max_matmul_outputs + 1> first_block{};
  std::array<Index, max_matmul_outputs> block_panels{};
  for (std::size_t i = 0; i < products.size(); ++i) {
    const PackedView& w = products[i].w;
    block_panels[i] =
        panel_block(panel_channels * x.tiles().tokens() * w.padded_cols(), execution.tuning);
    first_block[i + 1] = first_block[i] + ceil_div(w.panels(), block_panels[i]);
  }
  const Index tile_bytes =
      x.arranged_columns() * x.tiles().largest() * operand_bytes(x.shape().operand);
  const MatmulTuning& tuning = execution.tuning;
  const Index most_tiles = x.shape().few
                               ? x.tiles().count()
                               : std::max({Index{1}, tuning.int8_tokens / x.tiles().largest(),
                                           tuning.int8_activation_bytes / tile_bytes});
  const Index parts = ceil_div(x.tiles().count(), most_tiles);
  for (Index part = 0; part < parts; ++part) {
    const Index first_tile = part * x.tiles().count() / parts;
    const Index last_tile = (part + 1) * x.tiles().count() / parts;
    execution.parallel_for(first_block[products.size()], [&](Index block) {
      std::size_t i = 0;
      while (block >= first_block[i + 1]) ++i;
      const IntegerProduct& p = products[i];
      const Index first = (block - first_block[i]) * block_panels[i];
      const Index last = std::min(first + block_panels[i], p.w.panels());
      if (p.sparse) return multiply_strips(p, x, first, last, first_tile, last_tile);
      if (p.w.sparse) return multiply_expanded(p, x, first, last, first_tile, last_tile);
      multiply_panels(p, x, first, last, first_tile, last_tile);
    });
  }
}

}  // namespace detail

/// Products of the same activations; shapes fit, y have unit column stride and the groups fit.
/// A template, of spans, so that pare::kernels can hold it: see compiled.hpp.
template <std::same_as<std::span<const MatmulOutput>> Outputs>
void matmul_integer(const QuantizedActivationsView& x, Outputs outputs,
                    const Execution& execution) {
  if (x.tokens() == 0) return;
  Index padded_rows = 0;
  for (const MatmulOutput& output : outputs)
    padded_rows += round_up(output.weight().rows, detail::pair_channels) + panel_channels;
  Scratch scratch(execution.workspace, 2 * Scratch::bytes<float>(padded_rows));
  float* start = scratch.take<float>(padded_rows);
  float* bias = scratch.take<float>(padded_rows);
  std::fill_n(start, padded_rows, 0.0f);
  std::fill_n(bias, padded_rows, 0.0f);

  for (std::size_t i = 0; i < outputs.size();) {
    const IntegerChoice first =
        choose_integer_kernel(outputs[i], x.group_length(), execution.force);
    const ArrangementShape shape =
        detail::arrangement_shape(x, first.w, *first.kernel, first.sparse);
    IntegerArrangement arrangement(x, first.w, shape, *first.kernel, execution.workspace);
    arrangement.arrange(execution);

    std::array<IntegerProduct, max_matmul_outputs> products{};
    std::size_t count = 0;
    for (; i < outputs.size() && count < max_matmul_outputs; ++i, ++count) {
      const MatmulOutput& output = outputs[i];
      const auto [kernel, sparse, w] =
          choose_integer_kernel(output, x.group_length(), execution.force);
      if (!detail::arrangement_shape(x, w, *kernel, sparse).same(shape, x.cols()) ||
          w.codebook->factor != first.w.codebook->factor)
        break;
      products[count] = {kernel, w,    output.y(), output.options().accumulate,
                         start,  bias, sparse,     execution.tuning};
      for (Index n = 0; n < w.rows; ++n) {
        if (x.zero_point != 0) start[n] = -static_cast<float>(x.zero_point) * w.row_sums[n];
        if (!output.options().bias.empty()) bias[n] = output.options().bias[n];
      }
      start += round_up(w.rows, detail::pair_channels) + panel_channels;
      bias += round_up(w.rows, detail::pair_channels) + panel_channels;
    }
    detail::multiply_integer({products.data(), count}, arrangement, execution);
  }
}

}  // namespace pare::kernels
