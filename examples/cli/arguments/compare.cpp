#include <CLI/CLI.hpp>

#include <memory>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/arguments/step_arguments.hpp"
#include "cli/options.hpp"
#include "cli/recipe_options.hpp"

namespace cli {

Command add_compare(CLI::App& app, const std::filesystem::path& demo) {
  const auto options = std::make_shared<CompareOptions>();
  const auto base = std::make_shared<StepArguments<Recipe>>();
  options->model.model = demo;
  CLI::App* const command = app.add_subcommand("compare",
                                               "quantize in many ways and print a table of size, "
                                               "quality and speed, a row as each is ready");
  add_model(*command, options->model);
  command->add_option("--methods", options->methods,
                      "comma-separated: " + list_of(method_names) + " (default: a panel)");
  command->add_option("--formats", options->formats, "comma-separated: " + list_of(format_names));
  command->add_option(
      "--prune", options->prune,
      "also prune: comma-separated METHOD:PATTERN or METHOD:SPARSITY, like "
      "wanda:0.5,alps:2:4, STRUCTURE:RATIO[:SCORE][:UPDATE] like mlp:0.5:flap:refit, or "
      "panel; without --methods and --formats alone");
  base->add(*command, true);
  add_window(*command, options->model);
  add_calibration(*command, options->calibration);
  add_text(*command, options->text);
  add_no_speed(*command, options->speed);
  command->add_option("--report", options->report, "also write the rows to FILE.json or FILE.csv")
      ->type_name("FILE");
  return {command, [=] {
            options->base = recipe_from_values(base->values());
            compare(*options);
          }};
}

}  // namespace cli
