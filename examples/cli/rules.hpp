#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cli/layer_format.hpp"
#include "cli/pipeline/layer.hpp"

namespace cli {

struct Recipe;

/// What becomes of the layers whose names a regular expression matches as a whole (ECMAScript;
/// names are without ".weight"). Of several rules that match a layer the last one counts.
struct Rule {
  std::string match;
  LayerFormat format;
  /// The option or field that it comes from, for messages: "--rule 'lm_head=int8'".
  std::string source{};
};

/// 'REGEX=FORMAT[:GROUP]' or 'REGEX=skip', as on the command line; the last '=' counts.
/// Throws ArgumentError naming the rule.
[[nodiscard]] Rule parse_rule(std::string_view text);

/// What becomes of each layer of a model, by name.
using LayerFormats = std::map<std::string, LayerFormat, std::less<>>;

/// Follows the rules of a recipe, after those that --layers and --output-layer stand for. Layers
/// that no rule names get the recipe's format; the output layer stays as it is. Rows that are
/// shorter than the group size that nobody asked for are one group each.
///
/// Throws ArgumentError for a rule that is malformed, that matches no layer, or that does not
/// combine with the recipe's method or file format, naming it, and when no layer is left.
[[nodiscard]] LayerFormats formats_of_layers(const Recipe& recipe,
                                             const std::vector<LayerShape>& layers);

/// Says on standard error of which layers the rows are shorter than the default group size, so that
/// each is one group: once, however many recipes do the same.
void warn_of_short_rows(const Recipe& recipe, const std::vector<LayerShape>& layers);

/// Throws ShapeError naming the first layer that cannot be quantized in its format or saved in the
/// recipe's file format.
void require_shapes(const Recipe& recipe, const LayerFormats& formats,
                    const std::vector<LayerShape>& layers);

}  // namespace cli
