#include <CLI/CLI.hpp>

#include <memory>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/options.hpp"

namespace cli {

Command add_generate(CLI::App& app, const std::filesystem::path& demo) {
  const auto options = std::make_shared<GenerateCommand>();
  options->model.model = demo;
  CLI::App* const command = app.add_subcommand("generate", "continue a text");
  add_model(*command, options->model);
  add_map(*command, options->model);
  command->add_option("--prompt", options->prompt, "text to continue")->type_name("TEXT");
  command
      ->add_option("--tokens", options->tokens,
                   "token ids to continue instead; ids are printed, one a line")
      ->type_name("FILE");
  command->add_option("--length", options->length, "tokens to add")->capture_default_str();
  command->add_option("--temperature", options->temperature, "0 takes the likeliest token")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "of the random choices")->capture_default_str();
  return {command, [=] { generate(*options); }};
}

}  // namespace cli
