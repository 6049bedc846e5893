#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cli/step_option.hpp"
#include "pare/core/index.hpp"
#include "pare/pruning/structure/select_channels.hpp"

namespace cli {

using pare::Index;

/// What is taken out of a model, so that it is a smaller one.
enum class Structure : std::uint8_t {
  mlp,          ///< channels of feed-forward halves
  heads,        ///< heads of keys and values with the query heads that read them
  query_heads,  ///< query heads, as many of each head of keys and values
  experts,
  blocks,
};
inline constexpr std::array<std::string_view, 5> structure_names{"mlp", "heads", "query-heads",
                                                                 "experts", "blocks"};

/// How important a part is; which ones a structure has is said by `scores_of`.
enum class StructureScore : std::uint8_t {
  flap,
  wanda_sp,
  magnitude,
  taylor,
  random,
  reap,
  influence,
  angular,
};
inline constexpr std::array<std::string_view, 8> structure_score_names{
    "flap", "wanda-sp", "magnitude", "taylor", "random", "reap", "influence", "angular"};

/// What the layers that read a removed channel do for it.
enum class StructureUpdate : std::uint8_t {
  none,
  bias,   ///< the channel's mean goes into a bias
  refit,  ///< least squares, with a bias where the model's configuration has one
};
inline constexpr std::array<std::string_view, 3> structure_update_names{"none", "bias", "refit"};

/// One way to take structures out of a model: the step "prune" of a recipe file where it names one.
/// Its options are described in structure_recipe.cpp.
struct StructureRecipe {
  Structure structure = Structure::mlp;
  double ratio = 0.5;
  Index multiple = 1;
  /// Unset: the first of its structure.
  std::optional<StructureScore> score{};
  StructureUpdate update = StructureUpdate::none;
  double damping = 0.01;
  /// A file of edits, which says what goes.
  std::string replay{};
  /// An expert that the calibration text gives fewer tokens gets all of them.
  Index min_expert_tokens = 128;

  [[nodiscard]] StructureScore own_score() const;
  [[nodiscard]] bool removes_channels() const {
    return structure != Structure::experts && structure != Structure::blocks;
  }
  /// True when the score asks what enters the layers.
  [[nodiscard]] bool scores_inputs() const;
  /// True when the score asks for gradients of the model's loss.
  [[nodiscard]] bool scores_gradients() const;
  [[nodiscard]] bool needs_calibration() const {
    return update != StructureUpdate::none || scores_inputs() || scores_gradients();
  }
  [[nodiscard]] pare::ChannelSelection selection() const {
    return {.ratio = ratio, .multiple = multiple};
  }
  /// "mlp 50 % by flap, refit".
  [[nodiscard]] std::string text() const;

  /// Refuses what does not combine, in one line that says what would work.
  void validate() const;
};

/// "mlp:0.5", "heads:0.25:magnitude:refit": a structure, a ratio, and perhaps a score and an
/// update; nothing where the first word is no structure. Throws ArgumentError.
[[nodiscard]] std::optional<StructureRecipe> parse_structure(const std::string& text);

template <>
std::span<const StepOption<StructureRecipe>> options_of<StructureRecipe>();

}  // namespace cli
