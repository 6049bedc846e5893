#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "cli/recipe.hpp"

namespace cli {

/// An option of a recipe, described once: the command line, its help, recipe files, manifests and
/// the refusal of options without effect all come from this.
struct RecipeOption {
  enum class Kind { text, integer, number, flag, rules };

  std::string_view name;  ///< of the field in recipe files and manifests
  std::string_view flag;  ///< on the command line
  Kind kind;
  std::string help;
  /// Of help where there is no value that always is the default.
  std::string_view default_note{};
  /// An option of `pare compare` too, whose rows say the rest themselves.
  bool compared;
  /// Part of a run's manifest under "options". What is not is seen in its "layers".
  bool in_manifest;
  /// Where the option has an effect, and how to say so.
  bool (*has_effect)(const Recipe&);
  std::string_view where{};
  /// The value, in the JSON type of `kind`; null when it is not set.
  nlohmann::json (*get)(const Recipe&);
  /// Takes a value of that type. Throws ArgumentError for one that cannot be.
  void (*set)(Recipe&, const nlohmann::json&);

  /// True for a flag that is set unless turned off.
  [[nodiscard]] bool is_negative() const { return flag.starts_with("--no-"); }
};

[[nodiscard]] std::span<const RecipeOption> recipe_options();

/// A recipe from values by field name, each of the type of its option's kind; fields that are not
/// given have their default. Throws ArgumentError naming a field that there is none of, of another
/// type or with a value that cannot be; whether all combine see Recipe::validate.
[[nodiscard]] Recipe recipe_from_values(const nlohmann::json& values);

/// The values of all options that have an effect: what makes the recipe again, whatever defaults
/// become.
[[nodiscard]] nlohmann::json values_of_recipe(const Recipe& recipe);

/// The values that a result depends on, of all options that are part of manifests.
[[nodiscard]] nlohmann::json manifest_of_recipe(const Recipe& recipe);

/// Refuses options that are not as by default and that this recipe does not read.
void refuse_options_without_effect(const Recipe& recipe);

}  // namespace cli
