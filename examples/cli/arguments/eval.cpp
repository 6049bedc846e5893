#include <CLI/CLI.hpp>

#include <memory>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/options.hpp"

namespace cli {

Command add_eval(CLI::App& app, const std::filesystem::path& demo) {
  const auto options = std::make_shared<EvalCommand>();
  options->model.model = demo;
  CLI::App* const command =
      app.add_subcommand("eval", "measure a float or quantized model on a text");
  add_model(*command, options->model);
  add_map(*command, options->model);
  command
      ->add_option("--reference", options->reference, "float model to compare the predictions with")
      ->type_name("DIR");
  add_window(*command, options->model);
  add_text(*command, options->text);
  add_no_speed(*command, options->speed);
  command->add_option("--report", options->report, "also write the numbers to FILE.json")
      ->type_name("FILE");
  command
      ->add_option("--logits", options->logits,
                   "also write the tokens and logits of the first window to FILE.safetensors")
      ->type_name("FILE");
  return {command, [=] { eval(*options); }};
}

}  // namespace cli
