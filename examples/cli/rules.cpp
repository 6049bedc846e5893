#include "cli/rules.hpp"

#include <algorithm>
#include <charconv>
#include <regex>

#include "cli/layer_expression.hpp"
#include "cli/recipe.hpp"
#include "engine/warnings.hpp"

namespace cli {
namespace {

/// The rules of a recipe, those first that options stand for.
std::vector<Rule> all_rules(const Recipe& recipe, const std::vector<LayerShape>& layers) {
  std::vector<Rule> rules;
  if (!recipe.layers.empty()) {
    rules.push_back({".*", {.format = "skip"}, "--layers"});
    rules.push_back({recipe.layers, recipe.layer_format(), "--layers '" + recipe.layers + "'"});
  }
  if (recipe.output_layer == OutputLayer::int8) {
    const bool quantizes_input = recipe.layer_format().activations() != Activations::float32;
    for (const LayerShape& layer : layers)
      if (layer.is_output)
        rules.push_back({layer.name,
                         {.format = quantizes_input ? "w8a8-dynamic" : "int8"},
                         "--output-layer int8"});
  }
  rules.insert(rules.end(), recipe.rules.begin(), recipe.rules.end());
  return rules;
}

/// Readers of these files know one format for all layers; those that are skipped they find.
void require_expressible(const Recipe& recipe, const LayerFormats& formats,
                         const std::vector<LayerShape>& layers) {
  if (recipe.save_as == SaveAs::pare) return;
  const std::string target(name_of(save_as_names, recipe.save_as));
  for (const auto& [name, shape, is_output, is_left] : layers) {
    const LayerFormat& format = formats.at(name);
    if (format.is_skip()) continue;
    if (is_output)
      throw pare::ArgumentError("--save-as " + target + " needs " + name +
                                " as it is: skip it, or use --save-as pare");
    if (format != recipe.layer_format())
      throw pare::ArgumentError("--save-as " + target + " holds one format, " +
                                recipe.layer_format().text() + ": rules for it can skip, and " +
                                name + " is to be " + format.text() + "; use --save-as pare");
  }
}

/// True where rows are shorter than the group size that nobody asked for.
bool has_short_rows(const LayerFormat& format, const LayerShape& layer) {
  return !format.is_skip() && !format.group_size && format.weight_group_size() > layer.shape[1];
}

/// What each layer's rule says, without regard to its shape.
LayerFormats formats_by_rules(const Recipe& recipe, const std::vector<LayerShape>& layers) {
  LayerFormats formats;
  for (const LayerShape& layer : layers)
    formats[layer.name] =
        layer.is_output || layer.is_left ? LayerFormat{.format = "skip"} : recipe.layer_format();
  const std::vector<Rule> rules = all_rules(recipe, layers);
  for (const Rule& rule : rules) {
    pare::with_context(rule.source, [&] { recipe.validate_format(rule.format); });
    const std::regex pattern = compile_layer_expression(rule.source, rule.match);
    bool matched = false;
    for (auto& [name, format] : formats) {
      if (!std::regex_match(name, pattern)) continue;
      format = rule.format;
      matched = true;
    }
    if (!matched)
      throw pare::ArgumentError(rule.source + ": no layer's whole name matches \"" + rule.match +
                                "\"; the first is " + layers.front().name);
  }
  if (std::all_of(formats.begin(), formats.end(),
                  [](const auto& layer) { return layer.second.is_skip(); }))
    throw pare::ArgumentError(
        rules.empty() ? "none of the " + std::to_string(layers.size()) +
                            " matrices would be quantized: by default those are that stand in at "
                            "least two alike blocks, are 32 wide and high, and are no embedding, "
                            "norm, router, gate or head; --layers REGEX names others, '.*' all"
                      : "the rules skip every layer");
  return formats;
}

}  // namespace

Rule parse_rule(std::string_view text) {
  const std::string source = "--rule '" + std::string(text) + "'";
  const auto fail = [&](const std::string& why) { throw pare::ArgumentError(source + ": " + why); };
  const std::size_t equals = text.rfind('=');
  if (equals == std::string_view::npos || equals == 0)
    fail("a rule is 'REGEX=FORMAT', 'REGEX=FORMAT:GROUP' or 'REGEX=skip'");
  Rule rule{std::string(text.substr(0, equals)), {}, source};
  const std::string_view right = text.substr(equals + 1);
  const std::size_t colon = right.find(':');
  rule.format.format = std::string(right.substr(0, colon));
  if (colon != std::string_view::npos) {
    const std::string_view digits = right.substr(colon + 1);
    Index group = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), group);
    if (error != std::errc{} || end != digits.data() + digits.size())
      fail("\"" + std::string(digits) + "\" is no group size");
    rule.format.group_size = group;
  }
  return rule;
}

LayerFormats formats_of_layers(const Recipe& recipe, const std::vector<LayerShape>& layers) {
  LayerFormats formats = formats_by_rules(recipe, layers);
  // Other layouts know one group size.
  if (recipe.save_as == SaveAs::pare)
    for (const LayerShape& layer : layers)
      if (LayerFormat& format = formats.at(layer.name); has_short_rows(format, layer))
        format.group_size = -1;
  require_expressible(recipe, formats, layers);
  return formats;
}

void warn_of_short_rows(const Recipe& recipe, const std::vector<LayerShape>& layers) {
  if (recipe.save_as != SaveAs::pare) return;
  const LayerFormats formats = formats_by_rules(recipe, layers);
  const auto is_short = [&](const LayerShape& layer) {
    return has_short_rows(formats.at(layer.name), layer);
  };
  const auto first = std::find_if(layers.begin(), layers.end(), is_short);
  if (first == layers.end()) return;
  const auto others = std::count_if(first + 1, layers.end(), is_short);
  engine::warn_once("rows of " + first->name +
                    (others > 0 ? " and " + std::to_string(others) + " other layers" : "") +
                    " are shorter than the default group size " +
                    std::to_string(formats.at(first->name).weight_group_size()) +
                    ": each is one group");
}

void require_shapes(const Recipe& recipe, const LayerFormats& formats,
                    const std::vector<LayerShape>& layers) {
  const std::string target(name_of(save_as_names, recipe.save_as));
  for (const LayerShape& layer : layers) {
    const LayerFormat& format = formats.at(layer.name);
    if (format.is_skip()) continue;
    const Index out = layer.shape[0], in = layer.shape[1], g = format.weight_group_size();
    const auto refuse = [&](const std::string& why) {
      throw pare::ShapeError(layer.name + " of shape [" + std::to_string(out) + ", " +
                             std::to_string(in) + "]: " + why);
    };
    if (g > in)
      refuse("group size " + std::to_string(g) +
             " is larger than the row; --group-size -1 makes each row one group");
    if (recipe.save_as == SaveAs::pare) continue;
    if (g != -1 && in % g != 0)
      refuse(target + " files need rows that are a multiple of the group size " +
             std::to_string(g));
    if (recipe.save_as == SaveAs::gptq && (in % 32 != 0 || out % 32 != 0))
      refuse("gptq files need both sizes to be multiples of 32");
    if (recipe.save_as == SaveAs::awq && out % 8 != 0)
      refuse("awq files need the number of rows to be a multiple of 8");
  }
}

}  // namespace cli
