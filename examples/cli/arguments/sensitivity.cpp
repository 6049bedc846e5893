#include <CLI/CLI.hpp>

#include <memory>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/options.hpp"

namespace cli {

Command add_sensitivity(CLI::App& app, const std::filesystem::path& demo) {
  const auto options = std::make_shared<SensitivityCommand>();
  options->model.model = demo;
  CLI::App* const command = app.add_subcommand(
      "sensitivity",
      "prune each layer alone, at several sparsities, and print what that costs the whole model: "
      "KL to the float model and bits per byte, a line as each layer is ready. What hurts least "
      "can "
      "lose more (pare prune --allocate FILE).");
  add_model(*command, options->model);
  command
      ->add_option("--method", options->method,
                   "a score (wanda, magnitude, ria ...) or an update (sparsegpt, alps ...), as in "
                   "pare compare --prune METHOD:SPARSITY")
      ->type_name("TEXT")
      ->capture_default_str();
  command
      ->add_option("--sparsity", options->sparsity,
                   "comma-separated shares of a layer's weights that go (default: 0.3,0.5,0.7,0.9)")
      ->type_name("LIST");
  command
      ->add_option("--pattern", options->pattern,
                   "unstructured, N:M (which says the share itself) or blocks-RxC")
      ->type_name("TEXT")
      ->capture_default_str();
  command
      ->add_option(
          "--layers", options->layers,
          "only the layers whose whole names this regular expression matches (default: all "
          "of the blocks)")
      ->type_name("TEXT");
  command
      ->add_option("--eval-windows", options->eval_windows,
                   "evaluate on the first N windows, 0 is all (default: those of the first 16384 "
                   "tokens)")
      ->type_name("N");
  command
      ->add_option("--report", options->report,
                   "also write a row for each layer and sparsity to FILE.json or FILE.csv")
      ->type_name("FILE");
  command
      ->add_option("--plot", options->plot,
                   "also draw KL over the blocks, a line for each kind of layer, to FILE.svg")
      ->type_name("FILE");
  add_window(*command, options->model);
  add_calibration(*command, options->calibration);
  add_text(*command, options->text);
  return {command, [=] { sensitivity(*options); }};
}

}  // namespace cli
