#include "cli/recipe.hpp"

#include <algorithm>
#include <utility>

#include "cli/shared_step_options.hpp"

namespace cli {

bool Recipe::uses_static_activations() const {
  const auto is_static = [](const LayerFormat& layer) {
    return layer.activations() == Activations::static_int8;
  };
  return is_static(layer_format()) ||
         std::any_of(rules.begin(), rules.end(),
                     [&](const Rule& rule) { return is_static(rule.format); });
}

void Recipe::validate_format(const LayerFormat& layer) const {
  if (layer.is_skip()) {
    if (layer.group_size) throw pare::ArgumentError("layers that are skipped have no group size");
    return;
  }
  const std::string& name = layer.format;
  (void)parse_name<std::size_t>(format_names, name, "format");
  if (uses_awq() && layer.is_w8a8())
    throw pare::ArgumentError(std::string(name_of(method_names, method)) +
                              " does not combine with " + name +
                              ": use rtn, gptq or smoothquant, or a format without activations");
  if (learns() && !pare::with_format(layer.weight_format(),
                                     []<class F>(pare::TypeTag<F>) { return F::is_integer; }))
    throw pare::ArgumentError("autoround does not combine with " + name +
                              ": it learns integer formats; use gptq");
  const Index g = layer.weight_group_size();
  if (g == 0 || g < -1)
    throw pare::ArgumentError("--group-size " + std::to_string(g) +
                              " is neither -1 (whole row) nor positive");
  if (layer.group_size && layer.is_w8a8() && *layer.group_size != -1)
    throw pare::ArgumentError("--group-size " + std::to_string(*layer.group_size) +
                              " does not combine with " + name +
                              ": its weights have one scale per row (-1)");
}

void Recipe::validate() const {
  (void)parse_name<std::size_t>(format_names, format, "format");
  if (method == Method::smoothquant && !is_w8a8())
    throw pare::ArgumentError("smoothquant does not combine with " + format +
                              ": it moves outliers between activations and weights; use "
                              "w8a8-dynamic or w8a8-static");
  validate_format(layer_format());
  if (act_order && !uses_gptq())
    throw pare::ArgumentError("--act-order orders the columns of gptq and awq+gptq, not of " +
                              std::string(name_of(method_names, method)));
  constexpr std::string_view held_by_gptq[] = {"int2",  "int3",  "int4",  "int8",
                                               "uint2", "uint3", "uint4", "uint8"};
  if (save_as == SaveAs::gptq && std::ranges::count(held_by_gptq, format) == 0)
    throw pare::ArgumentError("--save-as gptq does not hold " + format +
                              ": use int or uint of 2, 3, 4 or 8 bits, or --save-as pare");
  if (save_as != SaveAs::pare && scale_type && *scale_type != pare::ScaleType::f16)
    throw pare::ArgumentError("--save-as " + std::string(name_of(save_as_names, save_as)) +
                              " needs f16 scales: its readers expect them");
  if (save_as != SaveAs::pare && output_layer != OutputLayer::unchanged)
    throw pare::ArgumentError("--output-layer int8 needs --save-as pare: readers of " +
                              std::string(name_of(save_as_names, save_as)) +
                              " files expect the output layer as it was");
  if (save_as == SaveAs::awq && format != "uint4")
    throw pare::ArgumentError("--save-as awq does not hold " + format +
                              ": use uint4, or --save-as pare");
  if (save_as == SaveAs::awq && act_order && !static_groups)
    throw pare::ArgumentError(
        "--save-as awq has no group index: use --act-order with static groups");
  require_shared_values(*this);
  if (learns() && range != pare::RangeMethod::min_max)
    throw pare::ArgumentError(
        "--range mse does not combine with autoround: it learns ranges, from minmax on");
  if (iterations < 1)
    throw pare::ArgumentError("--iterations " + std::to_string(iterations) + " is not positive");
  if (learning_rate && !(*learning_rate > 0.0 && *learning_rate <= 1.0))
    throw pare::ArgumentError("--learning-rate " + std::to_string(*learning_rate) +
                              " is outside (0, 1]");
  if (!(alpha >= 0.0f && alpha <= 1.0f))
    throw pare::ArgumentError("--alpha " + std::to_string(alpha) + " is outside [0, 1]");
}

std::vector<Recipe> default_panel(const Recipe& base) {
  const auto row = [&](Method method, std::string format, bool act_order = false) {
    Recipe recipe = base;
    recipe.method = method;
    recipe.format = std::move(format);
    recipe.act_order = act_order;
    recipe.static_groups = true;
    if (recipe.is_w8a8()) recipe.group_size.reset();
    return recipe;
  };
  return {row(Method::rtn, "int8"),
          row(Method::rtn, "w8a8-dynamic"),
          row(Method::smoothquant, "w8a8-static"),
          row(Method::rtn, "int4"),
          row(Method::rtn, "w4a8-dynamic"),
          row(Method::rtn, "uint4"),
          row(Method::rtn, "nf4"),
          row(Method::awq, "uint4"),
          row(Method::gptq, "int4", true),
          row(Method::gptq, "uint4", true),
          row(Method::awq_gptq, "uint4", true),
          row(Method::gptq, "uint3", true),
          row(Method::gptq, "uint2", true)};
}

}  // namespace cli
