#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/layer_format.hpp"
#include "cli/names.hpp"
#include "cli/rules.hpp"
#include "pare/core/error.hpp"
#include "pare/formats/scale.hpp"
#include "pare/quantization/block_parameters.hpp"

namespace cli {

enum class Method : std::uint8_t { rtn, gptq, awq, awq_gptq, smoothquant, autoround };
inline constexpr std::array<std::string_view, 6> method_names{
    "rtn", "gptq", "awq", "awq+gptq", "smoothquant", "autoround"};

/// The codes that learning begins with.
enum class BeginWith : std::uint8_t { nearest, gptq };
inline constexpr std::array<std::string_view, 2> begin_with_names{"nearest", "gptq"};

enum class ObserverKind : std::uint8_t { min_max, moving_average, percentile, entropy, mse };
inline constexpr std::array<std::string_view, 5> observer_names{"minmax", "moving-average",
                                                                "percentile", "entropy", "mse"};

inline constexpr std::array<std::string_view, 2> range_names{"minmax", "mse"};

enum class SaveAs : std::uint8_t { pare, gptq, awq };
inline constexpr std::array<std::string_view, 3> save_as_names{"pare", "gptq", "awq"};

/// What becomes of the output layer, the largest matrix beside the embedding.
enum class OutputLayer : std::uint8_t {
  unchanged,
  int8  ///< rounded, a scale per row, with the activations of the other layers' kind
};
inline constexpr std::array<std::string_view, 2> output_layer_names{"float", "int8"};

/// One way to quantize a model: what a row of `pare compare` runs, and the step "quantize" of a
/// recipe file. Its options are described in recipe_options.cpp.
struct Recipe {
  Method method = Method::rtn;
  /// Of layers that no rule names. As on the command line: a weight format or "w8a8-dynamic",
  /// "w8a8-static", "w4a8-dynamic".
  std::string format = "int4";
  /// Unset: whole rows at 8 bits, else 64.
  std::optional<Index> group_size{};
  bool act_order = false;
  /// Says something only with act_order.
  bool static_groups = true;
  double damping = 0.01;
  float alpha = 0.5f;
  pare::RangeMethod range = pare::RangeMethod::min_max;
  std::optional<pare::ScaleType> scale_type{};
  /// Of autoround, for each block.
  Index iterations = 200;
  /// Unset: 1 / iterations.
  std::optional<double> learning_rate{};
  BeginWith begin_with = BeginWith::nearest;
  ObserverKind observer = ObserverKind::min_max;
  bool activation_zero_point = false;
  SaveAs save_as = SaveAs::pare;
  OutputLayer output_layer = OutputLayer::unchanged;
  /// A regular expression: only these layers. Empty: all layers of the blocks.
  std::string layers{};
  std::vector<Rule> rules{};
  /// An expert that the calibration text gives fewer tokens gets all of them.
  Index min_expert_tokens = 128;
  /// A regular expression: weights that are stored (in, out), of models whose family is not known.
  std::string transposed{};

  [[nodiscard]] LayerFormat layer_format() const { return {format, group_size}; }
  [[nodiscard]] bool is_w8a8() const { return layer_format().is_w8a8(); }
  [[nodiscard]] Index weight_group_size() const { return layer_format().weight_group_size(); }
  [[nodiscard]] bool uses_static_groups() const { return act_order && static_groups; }
  /// Readers of other tools' files know only F16 scales.
  [[nodiscard]] pare::ScaleUnderflow scale_underflow() const {
    return save_as == SaveAs::pare ? pare::ScaleUnderflow::zero : pare::ScaleUnderflow::smallest;
  }
  [[nodiscard]] bool uses_gptq() const {
    return method == Method::gptq || method == Method::awq_gptq;
  }
  [[nodiscard]] bool learns() const { return method == Method::autoround; }
  /// Whether codes come from GPTQ's sweep, learned or not.
  [[nodiscard]] bool sweeps() const {
    return uses_gptq() || (learns() && begin_with == BeginWith::gptq);
  }
  [[nodiscard]] bool uses_awq() const {
    return method == Method::awq || method == Method::awq_gptq;
  }
  /// True when a layer's input is quantized with parameters found beforehand.
  [[nodiscard]] bool uses_static_activations() const;
  [[nodiscard]] bool needs_calibration() const {
    return method != Method::rtn || uses_static_activations();
  }

  /// Refuses what does not combine, in one line that says what would work.
  void validate() const;
  /// The same for the format of some layers, "skip" included.
  void validate_format(const LayerFormat& format) const;
};

/// What `pare compare` runs unless told otherwise: each method where it matters, 8 to 2 bits.
[[nodiscard]] std::vector<Recipe> default_panel(const Recipe& base);

}  // namespace cli
