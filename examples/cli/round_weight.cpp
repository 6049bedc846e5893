#include "cli/round_weight.hpp"

namespace cli {

pare::RangeOptions range_options(const Recipe& recipe) {
  pare::RangeOptions range{.method = recipe.range, .underflow = recipe.scale_underflow()};
  if (recipe.method == Method::awq) range.extend_to_zero = false;
  return range;
}

pare::AnyQuantizedMatrix round_weight(const Recipe& recipe, const LayerFormat& format,
                                      pare::MatrixView<const float> weight,
                                      const pare::Execution& execution, Index& raised) {
  pare::QuantizeReport report;
  const Index group_size = format.weight_group_size();
  auto quantized = pare::with_format(
      format.weight_format(), [&]<class F>(pare::TypeTag<F>) -> pare::AnyQuantizedMatrix {
        return pare::quantize<F>(weight,
                                 {.group_size = group_size,
                                  .scale_type = scale_type_of<F>(recipe, group_size),
                                  .range = range_options(recipe),
                                  .report = &report},
                                 execution);
      });
  raised += report.scales_raised;
  return quantized;
}

}  // namespace cli
