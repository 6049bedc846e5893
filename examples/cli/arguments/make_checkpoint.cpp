#include <CLI/CLI.hpp>

#include <memory>

#include "cli/arguments/commands.hpp"
#include "cli/arguments/shared_arguments.hpp"
#include "cli/options.hpp"

namespace cli {

Command add_make_checkpoint(CLI::App& app, const std::filesystem::path&) {
  const auto options = std::make_shared<MakeCheckpointCommand>();
  CLI::App* const command =
      app.add_subcommand("make-checkpoint", "write a LLaMA-shaped model of random weights");
  add_output(*command, options->out, options->force);
  command->add_option("--layers", options->layers, "decoder blocks")->capture_default_str();
  command->add_option("--hidden", options->hidden, "width of the model")->capture_default_str();
  command->add_option("--intermediate", options->intermediate, "width of the feed-forward layers")
      ->capture_default_str();
  command->add_option("--heads", options->heads, "attention heads")->capture_default_str();
  command->add_option("--kv-heads", options->kv_heads, "key-value heads")->capture_default_str();
  command->add_option("--vocab", options->vocab, "tokens; 256 means raw bytes")
      ->capture_default_str();
  command->add_option("--dtype", options->dtype, "f32, f16 or bf16")->capture_default_str();
  command->add_option("--seed", options->seed, "of the random weights")->capture_default_str();
  return {command, [=] { make_checkpoint(*options); }};
}

}  // namespace cli
