#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <new>
#include <string>
#include <vector>

#include "cli/arguments/commands.hpp"
#include "cli/printable.hpp"
#include "cli/standard_output.hpp"
#include "pare/core/error.hpp"
#include "pare/version.hpp"

namespace {

/// Of an empty variable of a shell nothing is guessed, nor of an option that lacks its value.
void require_values(const CLI::App& app) {
  for (const CLI::App* command : app.get_subcommands())
    for (const CLI::Option* option : command->get_options())
      for (const std::string& value : option->results()) {
        if (value.empty()) throw pare::ArgumentError(option->get_name() + " has an empty value");
        if (value.starts_with("--") && option->get_name() != "--prompt")
          throw pare::ArgumentError(option->get_name() + " has no value: " + value +
                                    " is an option");
      }
}

int run(int argc, char** argv) {
  CLI::App app{
      "pare quantizes transformers, decoders and encoders, and shows what it costs and gains.\n"
      "Without MODEL every command but pack works on the demo model that comes with it."};
  app.require_subcommand(1);
  app.set_version_flag("--version", pare::version);
  const std::filesystem::path demo = PARE_DEMO_MODEL_DIR;

  std::vector<cli::Command> commands;
  for (const auto add :
       {cli::add_compare, cli::add_quantize, cli::add_prune, cli::add_train, cli::add_sensitivity,
        cli::add_pack, cli::add_eval, cli::add_bench, cli::add_generate, cli::add_logits,
        cli::add_tokenize, cli::add_inspect, cli::add_make_checkpoint})
    commands.push_back(add(app, demo));

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    if (argc > 1 && argv[1][0] != '-' && app.get_subcommands().empty())
      std::fprintf(stderr, "pare: unknown command \"%s\" (see --help)\n", argv[1]);
    else
      std::fprintf(stderr, "pare: %s (see --help)\n", error.what());
    return 2;
  }

  require_values(app);
  for (const cli::Command& command : commands)
    if (command.arguments->parsed()) command.run();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  cli::reserve_standard_files();
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on files is an error of writing
  try {
    const int status = run(argc, argv);
    std::cout.flush();  // CLI11 prints help there
    cli::flush_standard_output();
    return status;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "pare: out of memory\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pare: %s\n", cli::printable(error.what()).c_str());
  }
  return 1;
}
