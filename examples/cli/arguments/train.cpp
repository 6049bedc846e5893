#include <CLI/CLI.hpp>

#include <memory>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/arguments/step_arguments.hpp"
#include "cli/options.hpp"

namespace cli {

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
  return {command, [=] {
            options->recipe = step_from_values<TrainRecipe>(recipe->values());
            train(*options);
          }};
}

}  // namespace cli
