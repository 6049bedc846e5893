#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <string>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/recipe_arguments.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/arguments/step_arguments.hpp"
#include "cli/options.hpp"

namespace cli {
namespace {

/// Refuses options that are another step's alone, which is the one to be done `when`.
template <class Step, class Other>
void require_options_of(const nlohmann::json& values, const std::string& when) {
  for (const auto& option : options_of<Other>()) {
    const auto& own = options_of<Step>();
    const bool is_own =
        std::any_of(own.begin(), own.end(), [&](const auto& o) { return o.name == option.name; });
    if (!is_own && values.contains(std::string(option.name)))
      throw pare::ArgumentError(std::string(option.flag) + " has no effect " + when);
  }
}

/// Weights or, where the options name a structure, whole parts.
void read_recipe(PruneCommand& command, const StepArguments<PruneRecipe>& arguments) {
  if (command.recipe_file.empty()) {
    const nlohmann::json& values = arguments.values();
    if (values.contains("structure") || values.contains("replay")) {
      require_options_of<StructureRecipe, PruneRecipe>(values, "with --structure");
      command.structure = step_from_values<StructureRecipe>(values);
    } else {
      require_options_of<PruneRecipe, StructureRecipe>(values, "without --structure");
      command.recipe = step_from_values<PruneRecipe>(values);
    }
    return;
  }
  const RecipeFile file =
      read_recipe_file(command.recipe_file, arguments.given(), command.model, command.calibration);
  command.structure = file.structure;
  if (file.structure) return;
  if (!file.prune || file.quantize)
    throw pare::ArgumentError(command.recipe_file.string() +
                              " does not only prune: " + command_of(file) + " follows it");
  command.recipe = *file.prune;
}

}  // namespace

Command add_prune(CLI::App& app, const std::filesystem::path& demo) {
  const auto options = std::make_shared<PruneCommand>();
  const auto recipe = std::make_shared<StepArguments<PruneRecipe>>();
  options->model.model = demo;
  CLI::App* const command =
      app.add_subcommand("prune",
                         "prune block by block into a new model directory; after a kill the "
                         "same command resumes");
  add_model(*command, options->model);
  add_output(*command, options->out, options->force);
  add_recipe_file(*command, options->recipe_file);
  recipe->add(*command);
  recipe->add_instead<StructureRecipe>(*command);
  add_window(*command, options->model);
  add_calibration(*command, options->calibration);
  return {command, [=] {
            read_recipe(*options, *recipe);
            prune(*options);
          }};
}

}  // namespace cli
