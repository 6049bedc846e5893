#include "cli/arguments/recipe_arguments.hpp"

#include <optional>

namespace cli {
namespace {

/// A size that the command line and a recipe file may both give, but not differently; 0 is none.
void merge(Index& argument, const std::optional<Index>& file, const std::string& option) {
  if (argument != 0 && file && *file != argument)
    throw pare::ArgumentError(option + " " + std::to_string(argument) +
                              " contradicts --recipe, which says " + std::to_string(*file));
  if (file) argument = *file;
}

}  // namespace

void add_recipe_file(CLI::App& command, std::filesystem::path& file) {
  command
      .add_option(
          "--recipe", file,
          "a recipe file, as pare_recipe.json in what this command writes, instead of options")
      ->type_name("FILE");
}

RecipeFile read_recipe_file(const std::filesystem::path& path, const std::string& given,
                            ModelOptions& model, CalibrationOptions& calibration) {
  if (!given.empty())
    throw pare::ArgumentError(given + " beside --recipe: the file alone says what is done");
  RecipeFile file = read_recipe(path);
  merge(model.window, file.window, "--window");
  merge(calibration.windows, file.windows, "--calib-windows");
  if (file.stride && calibration.stride != 1 && *file.stride != calibration.stride)
    throw pare::ArgumentError("--calib-stride contradicts --recipe");
  if (file.stride) calibration.stride = *file.stride;
  return file;
}

}  // namespace cli
