#include <CLI/CLI.hpp>

#include <memory>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/options.hpp"

namespace cli {

Command add_pack(CLI::App& app, const std::filesystem::path&) {
  const auto options = std::make_shared<PackCommand>();
  CLI::App* const command =
      app.add_subcommand("pack",
                         "write a quantized model's packed form, which the other commands "
                         "load without packing; after a kill the same command resumes");
  add_model(*command, options->model)
      ->description("quantized directory of any layout: pare, gptq or awq")
      ->required();
  add_output(*command, options->out, options->force);
  return {command, [=] { pack(*options); }};
}

}  // namespace cli
