#include <CLI/CLI.hpp>

#include <memory>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/options.hpp"

namespace cli {

Command add_bench(CLI::App& app, const std::filesystem::path& demo) {
  const auto options = std::make_shared<BenchCommand>();
  options->model.model = demo;
  CLI::App* const command =
      app.add_subcommand("bench", "measure speed beside the limits of the machine");
  add_model(*command, options->model);
  add_map(*command, options->model);
  command->add_option("--prompt", options->prompt,
                      "tokens read at once (default: 512, fewer where the context is shorter)");
  command->add_option("--tokens", options->tokens, "tokens decoded after them")
      ->capture_default_str();
  return {command, [=] { bench(*options); }};
}

}  // namespace cli
