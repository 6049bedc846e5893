#include <CLI/CLI.hpp>

#include <memory>

#include "cli/arguments/commands.hpp"
#include "cli/options.hpp"

namespace cli {

Command add_inspect(CLI::App& app, const std::filesystem::path& demo) {
  const auto options = std::make_shared<InspectCommand>();
  options->target = demo;
  CLI::App* const command =
      app.add_subcommand("inspect", "list what a model, a safetensors or a packed file holds");
  command->add_option("TARGET", options->target, "model directory, safetensors file or packed file")
      ->type_name("MODEL|FILE");
  return {command, [=] { inspect(*options); }};
}

}  // namespace cli
