#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"
#include "pare/formats/all.hpp"
#include "pare/formats/scale.hpp"
#include "pare/quantization/block_parameters.hpp"

namespace cli {

using pare::Index;

enum class Method : std::uint8_t { rtn, gptq, awq, awq_gptq, smoothquant };
inline constexpr std::array<std::string_view, 5> method_names{"rtn", "gptq", "awq", "awq+gptq",
                                                              "smoothquant"};

/// How the activations of a quantized layer are represented.
enum class Activations : std::uint8_t { float32, dynamic_int8, static_int8 };

enum class ObserverKind : std::uint8_t { min_max, moving_average, percentile, entropy, mse };
inline constexpr std::array<std::string_view, 5> observer_names{"minmax", "moving-average",
                                                                "percentile", "entropy", "mse"};

enum class SaveAs : std::uint8_t { pare, gptq, awq };
inline constexpr std::array<std::string_view, 3> save_as_names{"pare", "gptq", "awq"};

/// What becomes of the output layer, the largest matrix beside the embedding.
enum class OutputLayer : std::uint8_t {
  unchanged,
  int8  ///< rounded, a scale per row, with the activations of the other layers' kind
};
inline constexpr std::array<std::string_view, 2> output_layer_names{"float", "int8"};

/// Position of `text` in `names`. Throws ArgumentError "unknown WHAT ...; there are ...".
template <class Enum, std::size_t N>
[[nodiscard]] Enum parse_name(const std::array<std::string_view, N>& names, std::string_view text,
                              std::string_view what) {
  std::string all;
  for (std::size_t i = 0; i < N; ++i) {
    if (names[i] == text) return static_cast<Enum>(i);
    all += (i ? ", " : "") + std::string(names[i]);
  }
  throw pare::ArgumentError("unknown " + std::string(what) + " \"" + std::string(text) +
                            "\"; there are " + all);
}

template <class Enum, std::size_t N>
[[nodiscard]] constexpr std::string_view name_of(const std::array<std::string_view, N>& names,
                                                 Enum value) {
  return names[static_cast<std::size_t>(value)];
}

/// One way to quantize a model: what a row of `pare compare` runs.
struct Recipe {
  Method method = Method::rtn;
  /// As on the command line: a weight format or "w8a8-dynamic", "w8a8-static", "w4a8-dynamic".
  std::string format = "int4";
  /// Unset: whole rows at 8 bits, else 64.
  std::optional<Index> group_size{};
  bool act_order = false;
  bool static_groups = false;
  double damping = 0.01;
  float alpha = 0.5f;
  pare::RangeMethod range = pare::RangeMethod::min_max;
  std::optional<pare::ScaleType> scale_type{};
  ObserverKind observer = ObserverKind::min_max;
  bool activation_zero_point = false;
  SaveAs save_as = SaveAs::pare;
  OutputLayer output_layer = OutputLayer::unchanged;

  [[nodiscard]] bool is_w8a8() const { return format.starts_with("w8a8-"); }
  [[nodiscard]] Activations activations() const {
    if (format.ends_with("-dynamic")) return Activations::dynamic_int8;
    return format.ends_with("-static") ? Activations::static_int8 : Activations::float32;
  }
  /// The format of the weights. In w8a8 they have one scale per row.
  [[nodiscard]] std::string_view weight_format() const {
    if (activations() == Activations::float32) return format;
    return is_w8a8() ? "int8" : "int4";
  }
  [[nodiscard]] Index weight_group_size() const {
    if (is_w8a8()) return -1;
    return group_size.value_or(format.ends_with("8") ? Index{-1} : Index{64});
  }
  /// Readers of other tools' files know only F16 scales.
  [[nodiscard]] pare::ScaleUnderflow scale_underflow() const {
    return save_as == SaveAs::pare ? pare::ScaleUnderflow::zero : pare::ScaleUnderflow::smallest;
  }
  [[nodiscard]] bool uses_gptq() const {
    return method == Method::gptq || method == Method::awq_gptq;
  }
  [[nodiscard]] bool uses_awq() const {
    return method == Method::awq || method == Method::awq_gptq;
  }
  [[nodiscard]] bool needs_calibration() const {
    return method != Method::rtn || activations() == Activations::static_int8;
  }

  /// Refuses what does not combine, in one line that says what would work.
  void validate() const;

  /// Refuses options that this recipe does not read.
  void refuse_unused_options() const;
};

/// Formats of the command line. The library has more widths; these are the ones tools exchange.
inline constexpr std::array<std::string_view, 14> format_names{
    "int8",  "uint8", "int4", "uint4",   "int3",         "uint3",       "int2",
    "uint2", "nf4",   "fp4",  "ternary", "w8a8-dynamic", "w8a8-static", "w4a8-dynamic"};

inline void Recipe::validate() const {
  (void)parse_name<std::size_t>(format_names, format, "format");
  const std::string method_text(name_of(method_names, method));
  if (method == Method::smoothquant && !is_w8a8())
    throw pare::ArgumentError("smoothquant does not combine with " + format +
                              ": it moves outliers between activations and weights; use "
                              "w8a8-dynamic or w8a8-static");
  if (uses_awq() && is_w8a8())
    throw pare::ArgumentError(method_text + " does not combine with " + format +
                              ": use rtn, gptq or smoothquant, or a format without activations");
  if (act_order && !uses_gptq())
    throw pare::ArgumentError("--act-order orders the columns of gptq and awq+gptq, not of " +
                              method_text);
  const Index g = weight_group_size();
  if (g == 0 || g < -1)
    throw pare::ArgumentError("--group-size " + std::to_string(g) +
                              " is neither -1 (whole row) nor positive");
  if (group_size && is_w8a8() && *group_size != -1)
    throw pare::ArgumentError("--group-size " + std::to_string(*group_size) +
                              " does not combine with " + format +
                              ": its weights have one scale per row (-1)");
  if (save_as == SaveAs::gptq && !(format.starts_with("int") || format.starts_with("uint")))
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
  if (!(damping >= 0.0 && damping <= 1.0))
    throw pare::ArgumentError("--damping " + std::to_string(damping) + " is outside [0, 1]");
  if (!(alpha >= 0.0f && alpha <= 1.0f))
    throw pare::ArgumentError("--alpha " + std::to_string(alpha) + " is outside [0, 1]");
}

inline void Recipe::refuse_unused_options() const {
  const Recipe defaults;
  const auto refuse = [](const char* option, const char* where) {
    throw pare::ArgumentError(std::string(option) + " has no effect here: it belongs to " + where);
  };
  if (damping != defaults.damping && !uses_gptq()) refuse("--damping", "gptq and awq+gptq");
  if (alpha != defaults.alpha && method != Method::smoothquant) refuse("--alpha", "smoothquant");
  if (activations() == Activations::static_int8) return;
  if (observer != defaults.observer) refuse("--observer", "w8a8-static");
  if (activation_zero_point) refuse("--activation-zero-point", "w8a8-static");
}

/// What `pare compare` runs unless told otherwise: each method where it matters, 8 to 2 bits.
[[nodiscard]] inline std::vector<Recipe> default_panel(const Recipe& base) {
  const auto row = [&](Method method, std::string format, bool act_order = false) {
    Recipe recipe = base;
    recipe.method = method;
    recipe.format = std::move(format);
    recipe.act_order = recipe.static_groups = act_order;
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
