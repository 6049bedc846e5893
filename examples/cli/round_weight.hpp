#pragma once

#include "cli/recipe.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/quantization/quantize.hpp"

namespace cli {

/// A weight rounded to nearest in the format of its layer, with the recipe's choice of ranges and
/// scales. Adds to `raised` the scales that were raised to the smallest number of their type.
[[nodiscard]] pare::AnyQuantizedMatrix round_weight(const Recipe& recipe, const LayerFormat& format,
                                                    pare::MatrixView<const float> weight,
                                                    const pare::Execution& execution,
                                                    Index& raised);

/// How the recipe chooses the ranges of weights.
[[nodiscard]] pare::RangeOptions range_options(const Recipe& recipe);

/// The type of a layer's scales, where the recipe says none.
template <class F>
[[nodiscard]] pare::ScaleType scale_type_of(const Recipe& recipe, Index group_size) {
  return recipe.scale_type.value_or(pare::default_scale_type<F>(group_size));
}

}  // namespace cli
