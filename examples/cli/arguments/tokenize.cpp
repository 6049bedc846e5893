#include <CLI/CLI.hpp>

#include <memory>

#include "cli/arguments/commands.hpp"
#include "cli/options.hpp"

namespace cli {

Command add_tokenize(CLI::App& app, const std::filesystem::path& demo) {
  const auto options = std::make_shared<TokenizeCommand>();
  options->model = demo;
  CLI::App* const command =
      app.add_subcommand("tokenize", "turn text into token ids, or ids into text");
  command
      ->add_option("MODEL", options->model,
                   "directory with a tokenizer.json, or that file (default: the demo model)")
      ->type_name("DIR|FILE");
  auto* text = command->add_option("--text", options->text, "text to turn into ids, in UTF-8");
  text->type_name("FILE");
  command->add_option("--pair", options->pair, "second text, for models that read two at once")
      ->type_name("FILE")
      ->needs(text);
  command->add_flag("--plain", options->plain, "no special tokens around the text")->needs(text);
  auto* ids =
      command->add_option("--decode", options->ids, "ids to turn into text: .npy or raw int32");
  ids->type_name("FILE")->excludes(text);
  command->add_flag("--skip-special", options->skip_special, "leave special tokens out of the text")
      ->needs(ids);
  command
      ->add_option("--out", options->out,
                   "write the ids to FILE.npy, or the text to FILE, instead of printing them")
      ->type_name("FILE");
  return {command, [=] { tokenize(*options); }};
}

}  // namespace cli
