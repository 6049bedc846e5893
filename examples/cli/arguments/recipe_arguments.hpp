#pragma once

#include <CLI/CLI.hpp>

#include <filesystem>
#include <string>

#include "cli/options.hpp"
#include "cli/recipe_file.hpp"

namespace cli {

/// --recipe, for commands that write the file themselves.
void add_recipe_file(CLI::App& command, std::filesystem::path& file);

/// The recipe file of a command, whose options say nothing then but how to calibrate: what `given`
/// names is refused. What the file says of calibration goes to `model` and `calibration`.
[[nodiscard]] RecipeFile read_recipe_file(const std::filesystem::path& file,
                                          const std::string& given, ModelOptions& model,
                                          CalibrationOptions& calibration);

}  // namespace cli
