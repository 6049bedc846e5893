#pragma once

#include <nlohmann/json.hpp>
#include <span>

#include "cli/recipe.hpp"
#include "cli/step_option.hpp"

namespace cli {

template <>
std::span<const StepOption<Recipe>> options_of<Recipe>();

/// See step_from_values; whether all combine see Recipe::validate.
[[nodiscard]] Recipe recipe_from_values(const nlohmann::json& values);

}  // namespace cli
