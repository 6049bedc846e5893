#include "cli/recipe_options.hpp"

#include <array>
#include <vector>

#include "cli/shared_step_options.hpp"

namespace cli {
namespace {

using Json = nlohmann::json;
using Kind = OptionKind;

constexpr std::array<std::string_view, 3> scale_type_names{"f16", "bf16", "f32"};
constexpr std::array<pare::ScaleType, 3> scale_types{pare::ScaleType::f16, pare::ScaleType::bf16,
                                                     pare::ScaleType::f32};

bool always(const Recipe&) { return true; }

/// {"match": REGEX, "format": FORMAT or "skip", "group_size": N}
Rule rule_from_json(const Json& value) {
  const std::string source = "rule " + value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return pare::with_context(source, [&] {
    if (!value.is_object()) throw pare::ArgumentError("it is no object");
    for (const char* field : {"match", "format"})
      if (!value.contains(field))
        throw pare::ArgumentError(std::string("the field \"") + field + "\" is missing");
    Rule rule;
    for (const auto& item : value.items()) {
      if (item.key() == "group_size") {
        require_kind(item.key(), item.value(), Kind::integer);
        rule.format.group_size = item.value().get<Index>();
        continue;
      }
      if (item.key() != "match" && item.key() != "format")
        throw pare::ArgumentError("unknown field \"" + item.key() +
                                  "\"; there are match, format, group_size");
      require_kind(item.key(), item.value(), Kind::text);
      (item.key() == "match" ? rule.match : rule.format.format) = item.value().get<std::string>();
    }
    rule.source = "rule '" + rule.match + "=" + rule.format.format +
                  (rule.format.group_size ? ":" + std::to_string(*rule.format.group_size) : "") +
                  "'";
    return rule;
  });
}

Json rules_to_json(const std::vector<Rule>& rules) {
  Json list = Json::array();
  for (const Rule& rule : rules) {
    Json fields{{"match", rule.match}, {"format", rule.format.format}};
    if (!rule.format.is_skip()) fields["group_size"] = rule.format.weight_group_size();
    list.push_back(std::move(fields));
  }
  return list;
}

bool uses_gptq(const Recipe& r) { return r.uses_gptq(); }
bool learns(const Recipe& r) { return r.learns(); }
bool uses_static_activations(const Recipe& r) { return r.uses_static_activations(); }

std::vector<StepOption<Recipe>> describe() {
  return {
      {.name = "method",
       .flag = "--method",
       .kind = Kind::text,
       .help = list_of(method_names),
       .compared = false,
       .in_manifest = true,
       .has_effect = always,
       .get = [](const Recipe& r) { return Json(name_of(method_names, r.method)); },
       .set =
           [](Recipe& r, const Json& v) {
             r.method = parse_name<Method>(method_names, v.get<std::string>(), "method");
           }},
      {.name = "format",
       .flag = "--format",
       .kind = Kind::text,
       .help = "of all layers that no rule names: " + list_of(format_names),
       .compared = false,
       .in_manifest = true,
       .has_effect = always,
       .get = [](const Recipe& r) { return Json(r.format); },
       .set = [](Recipe& r, const Json& v) { r.format = v.get<std::string>(); }},
      {.name = "group_size",
       .flag = "--group-size",
       .kind = Kind::integer,
       .help = "weights that share a scale; -1 is a row",
       .default_note = "64, at 8 bits -1",
       .compared = true,
       .in_manifest = true,
       .has_effect = always,
       .get = [](const Recipe& r) { return Json(r.weight_group_size()); },
       .set = [](Recipe& r, const Json& v) { r.group_size = v.get<Index>(); }},
      {.name = "rules",
       .flag = "--rule",
       .kind = Kind::rules,
       .help = "'REGEX=FORMAT[:GROUP]' or 'REGEX=skip' for the layers whose whole names REGEX "
               "matches, without .weight; repeatable, the last match wins",
       .compared = false,
       .in_manifest = false,
       .has_effect = [](const Recipe& r) { return !r.rules.empty(); },
       .get = [](const Recipe& r) { return rules_to_json(r.rules); },
       .set =
           [](Recipe& r, const Json& v) {
             for (const Json& rule : v) r.rules.push_back(rule_from_json(rule));
           }},
      {.name = "layers",
       .flag = "--layers",
       .kind = Kind::text,
       .help =
           "quantize only the layers whose whole names this regular expression matches, but for "
           "what rules say",
       .default_note = "all of the blocks",
       .compared = true,
       .in_manifest = false,
       .has_effect = [](const Recipe& r) { return !r.layers.empty(); },
       .get = [](const Recipe& r) { return r.layers.empty() ? Json() : Json(r.layers); },
       .set = [](Recipe& r, const Json& v) { r.layers = v.get<std::string>(); }},
      min_expert_tokens_option<Recipe>(true, "methods that calibrate"),
      {.name = "transposed",
       .flag = "--transposed",
       .kind = Kind::text,
       .help =
           "of models whose family is unknown: layers whose whole names this regular expression "
           "matches are stored (in, out)",
       .default_note = "none",
       .compared = false,
       .in_manifest = false,
       .has_effect = [](const Recipe& r) { return !r.transposed.empty(); },
       .get = [](const Recipe& r) { return r.transposed.empty() ? Json() : Json(r.transposed); },
       .set = [](Recipe& r, const Json& v) { r.transposed = v.get<std::string>(); }},
      {.name = "output_layer",
       .flag = "--output-layer",
       .kind = Kind::text,
       .help = "float (as it is) or int8: half of its bytes or a quarter, for pare files",
       .compared = false,
       .in_manifest = false,
       .has_effect = always,
       .get = [](const Recipe& r) { return Json(name_of(output_layer_names, r.output_layer)); },
       .set =
           [](Recipe& r, const Json& v) {
             r.output_layer =
                 parse_name<OutputLayer>(output_layer_names, v.get<std::string>(), "output layer");
           }},
      {.name = "act_order",
       .flag = "--act-order",
       .kind = Kind::flag,
       .help = "gptq: quantize columns by falling importance; implies static groups",
       .compared = true,
       .in_manifest = true,
       .has_effect = uses_gptq,
       .where = "gptq and awq+gptq",
       .get = [](const Recipe& r) { return Json(r.act_order); },
       .set = [](Recipe& r, const Json& v) { r.act_order = v.get<bool>(); }},
      {.name = "static_groups",
       .flag = "--no-static-groups",
       .kind = Kind::flag,
       .help = "with --act-order: find group scales during the sweep",
       .compared = true,
       .in_manifest = true,
       .has_effect = [](const Recipe& r) { return r.act_order; },
       .where = "--act-order: other sweeps have no static groups",
       .get = [](const Recipe& r) { return Json(r.static_groups); },
       .set = [](Recipe& r, const Json& v) { r.static_groups = v.get<bool>(); }},
      damping_option<Recipe>("gptq: fraction of the mean Hessian diagonal", true, uses_gptq,
                             "gptq and awq+gptq"),
      {.name = "alpha",
       .flag = "--alpha",
       .kind = Kind::number,
       .help = "smoothquant: share of the range moved to weights",
       .compared = true,
       .in_manifest = true,
       .has_effect = [](const Recipe& r) { return r.method == Method::smoothquant; },
       .where = "smoothquant",
       .get = [](const Recipe& r) { return Json(r.alpha); },
       .set = [](Recipe& r, const Json& v) { r.alpha = v.get<float>(); }},
      {.name = "iterations",
       .flag = "--iterations",
       .kind = Kind::integer,
       .help = "autoround: steps for each block, of 8 calibration windows",
       .compared = true,
       .in_manifest = true,
       .has_effect = learns,
       .where = "autoround",
       .get = [](const Recipe& r) { return Json(r.iterations); },
       .set = [](Recipe& r, const Json& v) { r.iterations = v.get<Index>(); }},
      {.name = "learning_rate",
       .flag = "--learning-rate",
       .kind = Kind::number,
       .help = "autoround: of the first step, falling to 0",
       .default_note = "1 / iterations",
       .compared = true,
       .in_manifest = true,
       .has_effect = learns,
       .where = "autoround",
       .get = [](const Recipe& r) { return r.learning_rate ? Json(*r.learning_rate) : Json(); },
       .set = [](Recipe& r, const Json& v) { r.learning_rate = v.get<double>(); }},
      {.name = "begin_with",
       .flag = "--begin-with",
       .kind = Kind::text,
       .help = "autoround: nearest (rounding and ranges are learned) or gptq (its codes with "
               "act-order stay, "
               "ranges are learned)",
       .compared = true,
       .in_manifest = true,
       .has_effect = learns,
       .where = "autoround",
       .get = [](const Recipe& r) { return Json(name_of(begin_with_names, r.begin_with)); },
       .set =
           [](Recipe& r, const Json& v) {
             r.begin_with =
                 parse_name<BeginWith>(begin_with_names, v.get<std::string>(), "beginning");
           }},
      {.name = "range",
       .flag = "--range",
       .kind = Kind::text,
       .help = "weight range: " + list_of(range_names),
       .compared = true,
       .in_manifest = true,
       .has_effect = always,
       .get =
           [](const Recipe& r) {
             return Json(range_names[r.range == pare::RangeMethod::mse_clip ? 1 : 0]);
           },
       .set =
           [](Recipe& r, const Json& v) {
             r.range = parse_name<int>(range_names, v.get<std::string>(), "range") == 1
                           ? pare::RangeMethod::mse_clip
                           : pare::RangeMethod::min_max;
           }},
      {.name = "scales",
       .flag = "--scales",
       .kind = Kind::text,
       .help = "scale storage: " + list_of(scale_type_names),
       .default_note = "f16 for groups, f32 per row; f16 for gptq and awq files",
       .compared = true,
       .in_manifest = true,
       .has_effect = always,
       .get =
           [](const Recipe& r) { return r.scale_type ? Json(to_string(*r.scale_type)) : Json(); },
       .set =
           [](Recipe& r, const Json& v) {
             r.scale_type = scale_types[parse_name<std::size_t>(
                 scale_type_names, v.get<std::string>(), "scale type")];
           }},
      {.name = "observer",
       .flag = "--observer",
       .kind = Kind::text,
       .help = "w8a8-static: " + list_of(observer_names),
       .compared = true,
       .in_manifest = true,
       .has_effect = uses_static_activations,
       .where = "w8a8-static",
       .get = [](const Recipe& r) { return Json(name_of(observer_names, r.observer)); },
       .set =
           [](Recipe& r, const Json& v) {
             r.observer =
                 parse_name<ObserverKind>(observer_names, v.get<std::string>(), "observer");
           }},
      {.name = "activation_zero_point",
       .flag = "--activation-zero-point",
       .kind = Kind::flag,
       .help = "w8a8-static: asymmetric activations",
       .compared = true,
       .in_manifest = true,
       .has_effect = uses_static_activations,
       .where = "w8a8-static",
       .get = [](const Recipe& r) { return Json(r.activation_zero_point); },
       .set = [](Recipe& r, const Json& v) { r.activation_zero_point = v.get<bool>(); }},
      {.name = "save_as",
       .flag = "--save-as",
       .kind = Kind::text,
       .help = "pare (everything), gptq (int and uint of 2, 3, 4, 8 bits) or awq (uint4)",
       .compared = false,
       .in_manifest = true,
       .has_effect = always,
       .get = [](const Recipe& r) { return Json(name_of(save_as_names, r.save_as)); },
       .set =
           [](Recipe& r, const Json& v) {
             r.save_as = parse_name<SaveAs>(save_as_names, v.get<std::string>(), "file format");
           }},
  };
}

}  // namespace

template <>
std::span<const StepOption<Recipe>> options_of<Recipe>() {
  static const std::vector<StepOption<Recipe>> options = describe();
  return options;
}

Recipe recipe_from_values(const Json& values) {
  auto recipe = step_from_values<Recipe>(values);
  if (!recipe.static_groups && !recipe.act_order)
    throw pare::ArgumentError(
        "--no-static-groups needs --act-order: other sweeps have no static groups");
  // Tools that read these files expect 16-bit scales, at 8 bits and per row too.
  if (recipe.save_as != SaveAs::pare && !recipe.scale_type)
    recipe.scale_type = pare::ScaleType::f16;
  return recipe;
}

}  // namespace cli
