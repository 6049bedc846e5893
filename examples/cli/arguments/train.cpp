#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/recipe_arguments.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/arguments/step_arguments.hpp"
#include "cli/options.hpp"
#include "cli/train_plan.hpp"

namespace cli {

namespace {

/// The recipe from --recipe, or from options; --plan has those of its stages.
void read_recipe(TrainCommand& command, const StepArguments<TrainRecipe>& arguments) {
  if (!command.plan.empty()) {
    if (!arguments.given().empty() || !command.recipe_file.empty())
      throw pare::ArgumentError((arguments.given().empty() ? "--recipe" : arguments.given()) +
                                " beside --plan: the file alone says how its stages train");
    return;
  }
  if (command.recipe_file.empty()) {
    command.recipe = step_from_values<TrainRecipe>(arguments.values());
    return;
  }
  CalibrationOptions none;
  const RecipeFile file =
      read_recipe_file(command.recipe_file, arguments.given(), command.model, none);
  if (!file.train)
    throw pare::ArgumentError(command.recipe_file.string() +
                              " has no step \"train\": " + command_of(file) + " follows it");
  command.recipe = *file.train;
}

}  // namespace

Command add_train(CLI::App& app, const std::filesystem::path& demo) {
  const auto options = std::make_shared<TrainCommand>();
  const auto recipe = std::make_shared<StepArguments<TrainRecipe>>();
  options->model.model = demo;
  CLI::App* const command = app.add_subcommand(
      "train",
      "train a model, from a teacher, with its layers rounded, or both, into a new model "
      "directory; after a kill or Ctrl-C the same command goes on");
  add_model(*command, options->model);
  command
      ->add_option("--data", options->data,
                   "text to train on (default: calib.txt beside the model)")
      ->type_name("FILE");
  command->add_option("--tokens", options->tokens, "token ids instead: .npy or raw int32")
      ->type_name("FILE");
  command
      ->add_option("--teacher", options->teachers,
                   "a model whose answers are learned; may be repeated")
      ->type_name("DIR");
  command
      ->add_option("--teacher-cache", options->teacher_cache,
                   "keep what teachers say in FILE, and ask them only what is not there")
      ->type_name("FILE");
  add_output(*command, options->out, options->force);
  add_recipe_file(*command, options->recipe_file);
  command
      ->add_option("--plan", options->plan,
                   "train in the stages that FILE.json names, each into a directory of --out")
      ->type_name("FILE");
  recipe->add(*command);
  add_window(*command, options->model);
  command
      ->add_option(
          "--log", options->log,
          "also write the numbers of each step there: for TensorBoard, as CSV and as JSON lines")
      ->type_name("DIR");
  command
      ->add_option("--save-every", options->save_every,
                   "steps between states that a killed run goes on from")
      ->capture_default_str();
  command->add_option("--print-every", options->print_every, "steps between lines")
      ->capture_default_str();
  command
      ->add_option("--eval-every", options->eval_every,
                   "steps between looks at how well a text is predicted that is not trained on; 0 "
                   "is never")
      ->capture_default_str();
  command
      ->add_option("--eval-text", options->eval_text,
                   "that text (default: eval.txt beside the model)")
      ->type_name("FILE");
  command
      ->add_option("--eval-windows", options->eval_windows, "the first N windows of it; 0 is all")
      ->type_name("N")
      ->capture_default_str();
  return {command, [=] {
            read_recipe(*options, *recipe);
            if (!options->plan.empty())
              train_plan(*options);
            else
              train(*options);
          }};
}

}  // namespace cli
