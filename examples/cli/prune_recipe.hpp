#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/step_option.hpp"
#include "pare/core/index.hpp"
#include "pare/pruning/selection.hpp"

namespace cli {

using pare::Index;

/// What the weights that stay do for those that go.
enum class PruneUpdate : std::uint8_t { none, refit, sparsegpt, obc, alps };
inline constexpr std::array<std::string_view, 5> prune_update_names{"none", "refit", "sparsegpt",
                                                                    "obc", "alps"};

enum class PruneScope : std::uint8_t { row, matrix, global };
inline constexpr std::array<std::string_view, 3> prune_scope_names{"row", "matrix", "global"};

/// An ordinary model whose zeros are stored, or masks in their place.
enum class PrunedAs : std::uint8_t { huggingface, pare };
inline constexpr std::array<std::string_view, 2> pruned_as_names{"huggingface", "pare"};

/// One way to prune a model: the step "prune" of a recipe file. Its options are described in
/// prune_recipe.cpp.
struct PruneRecipe {
  /// Which weights go; most updates choose them themselves.
  std::string score = "wanda";
  double sparsity = 0.5;
  /// "unstructured", "N:M" or "blocks-RxC".
  std::string pattern = "unstructured";
  /// What competes with what; unset: rows for wanda, else matrices.
  std::optional<PruneScope> scope{};
  PruneUpdate update = PruneUpdate::none;
  double damping = 0.01;
  /// How the layers share the sparsity: "uniform", "erk", "owl", or a JSON file {layer: sparsity}.
  std::string allocate = "uniform";
  /// Of "owl": which multiple of the mean score is an outlier, and how far blocks may differ.
  double owl_multiple = 5.0, owl_lambda = 0.08;
  /// A regular expression: only these layers. Empty: all layers of the blocks.
  std::string layers{};
  /// An expert that the calibration text gives fewer tokens gets all of them.
  Index min_expert_tokens = 128;
  PrunedAs save_as = PrunedAs::huggingface;

  [[nodiscard]] bool uses_score() const {
    return update == PruneUpdate::none || update == PruneUpdate::refit;
  }
  [[nodiscard]] PruneScope own_scope() const;
  /// True when the score asks what enters the layers.
  [[nodiscard]] bool scores_inputs() const;
  /// True when the score asks for gradients of the model's loss.
  [[nodiscard]] bool scores_gradients() const;
  [[nodiscard]] bool needs_calibration() const {
    return update != PruneUpdate::none || scores_inputs() || scores_gradients() ||
           allocate == "owl";
  }
  /// The share or the pattern, for the scope `row` or `matrix`.
  [[nodiscard]] pare::Selection selection() const;
  /// "wanda 2:4", "alps 70 %".
  [[nodiscard]] std::string text() const;

  /// Refuses what does not combine, in one line that says what would work.
  void validate() const;
};

template <>
std::span<const StepOption<PruneRecipe>> options_of<PruneRecipe>();

/// Takes an update or a score by name: "alps", "wanda".
void set_method(PruneRecipe& recipe, const std::string& method);

/// "sparsegpt:2:4", "alps:0.7", "magnitude:0.5:global": an update or a score, a pattern or a share,
/// and perhaps a scope, or "owl" for --allocate. Throws ArgumentError.
[[nodiscard]] PruneRecipe parse_prune(const std::string& text);

/// What `pare compare --prune panel` runs.
[[nodiscard]] std::vector<PruneRecipe> prune_panel();

}  // namespace cli
