#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/recipe_arguments.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/arguments/step_arguments.hpp"
#include "cli/options.hpp"
#include "cli/recipe_options.hpp"

namespace cli {
namespace {

/// The recipe from --recipe, or from the options that describe one.
void read_recipe(QuantizeCommand& command, const StepArguments<Recipe>& arguments,
                 const std::string& prune) {
  if (command.recipe_file.empty()) {
    command.recipe = recipe_from_values(arguments.values());
    if (!prune.empty()) command.prune = parse_prune(prune);
    return;
  }
  const RecipeFile file =
      read_recipe_file(command.recipe_file, prune.empty() ? arguments.given() : "--prune",
                       command.model, command.calibration);
  if (!file.quantize)
    throw pare::ArgumentError(command.recipe_file.string() +
                              " has no step \"quantize\": " + command_of(file) + " follows it");
  command.recipe = *file.quantize;
  command.prune = file.prune;
}

}  // namespace

Command add_quantize(CLI::App& app, const std::filesystem::path& demo) {
  const auto options = std::make_shared<QuantizeCommand>();
  const auto recipe = std::make_shared<StepArguments<Recipe>>();
  const auto prune = std::make_shared<std::string>();
  options->model.model = demo;
  CLI::App* const command =
      app.add_subcommand("quantize",
                         "quantize block by block into a new model directory; "
                         "after a kill the same command resumes");
  add_model(*command, options->model);
  add_output(*command, options->out, options->force);
  add_recipe_file(*command, options->recipe_file);
  recipe->add(*command);
  command
      ->add_option(
          "--prune", *prune,
          "prune in the same pass, METHOD:PATTERN or METHOD:SPARSITY, like sparsegpt:2:4 or "
          "alps:0.5")
      ->type_name("TEXT");
  add_window(*command, options->model);
  add_calibration(*command, options->calibration);
  return {command, [=] {
            read_recipe(*options, *recipe, *prune);
            quantize(*options);
          }};
}

}  // namespace cli
