#include <CLI/CLI.hpp>

#include <memory>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/options.hpp"

namespace cli {

Command add_logits(CLI::App& app, const std::filesystem::path& demo) {
  const auto options = std::make_shared<LogitsCommand>();
  options->model.model = demo;
  CLI::App* const command =
      app.add_subcommand("logits", "write what a model answers, to compare with another engine");
  add_model(*command, options->model);
  add_map(*command, options->model);
  command
      ->add_option("--inputs", options->inputs,
                   "safetensors with input_ids (attention_mask, token_type_ids) or pixel_values")
      ->type_name("FILE");
  command
      ->add_option("--tokens", options->tokens, "token ids of one text instead: .npy or raw int32")
      ->type_name("FILE");
  command->add_option("--out", options->out, "file to write: FILE.safetensors")
      ->required()
      ->type_name("FILE");
  command->add_flag("--hidden", options->hidden, "also what enters and leaves each block");
  command->add_flag("--decode", options->decode,
                    "also the answers to decode_ids of --inputs, one at a time behind the text");
  return {command, [=] { logits(*options); }};
}

}  // namespace cli
