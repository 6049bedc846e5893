#include <CLI/CLI.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "cli/options.hpp"
#include "cli/printable.hpp"
#include "cli/recipe_options.hpp"
#include "cli/standard_output.hpp"
#include "pare/version.hpp"

namespace {

using cli::Recipe;

/// Options of a step that the command line gives, as recipe files have them: parsed after CLI11, so
/// that errors list what would work.
template <class Step>
class StepArguments {
 public:
  /// Adds the options to a command; for `pare compare` those that its rows do not choose.
  void add(CLI::App& command, bool for_compare = false) {
    for (const auto& option : cli::options_of<Step>())
      if (option.compared || !for_compare) add(command, option);
  }

  /// Options of another step that the command may do instead; those that both have say so.
  template <class Other>
  void add_instead(CLI::App& command) {
    for (const auto& option : cli::options_of<Other>()) {
      const std::string flag(option.flag);
      CLI::Option* const shared = command.get_option_no_throw(flag);
      if (!shared)
        add(command, option);
      else if (shared->get_description().find(option.help) == std::string::npos)
        shared->description(shared->get_description() + "; " + option.help);
    }
  }

  [[nodiscard]] const nlohmann::json& values() const { return values_; }
  /// The options that were given, for messages: "--method, --format"; empty when there is none.
  [[nodiscard]] const std::string& given() const { return given_; }

 private:
  template <class Other>
  void add(CLI::App& command, const cli::StepOption<Other>& option) {
    using Kind = cli::OptionKind;
    const std::string flag(option.flag);
    std::string help = option.help;
    if (!option.default_note.empty())
      help += " (default: " + std::string(option.default_note) + ")";
    const auto take = [this, &option](nlohmann::json value) {
      given_ += (given_.empty() ? "" : ", ") + std::string(option.flag);
      values_[std::string(option.name)] = std::move(value);
    };
    CLI::Option* added = nullptr;
    switch (option.kind) {
      case Kind::flag:
        command.add_flag_callback(
            flag, [take, &option] { take(!option.is_negative()); }, help);
        return;
      case Kind::integer:
        added = command.add_option_function<cli::Index>(flag, take, help)->type_name("N");
        break;
      case Kind::number:
        added = command.add_option_function<double>(flag, take, help)->type_name("X");
        break;
      case Kind::text:
        added = command.add_option_function<std::string>(flag, take, help)->type_name("TEXT");
        break;
      case Kind::rules:
        command
            .add_option_function<std::vector<std::string>>(
                flag, [take](const std::vector<std::string>& rules) { take(rules_of(rules)); },
                help)
            ->type_name("RULE")
            ->allow_extra_args(false)
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
        return;
    }
    if (const auto value = option.get(Other{}); option.default_note.empty() && !value.is_null())
      added->default_str(value.is_string() ? value.template get<std::string>() : value.dump());
  }

  static nlohmann::json rules_of(const std::vector<std::string>& texts) {
    nlohmann::json rules = nlohmann::json::array();
    for (const std::string& text : texts) {
      const cli::Rule rule = cli::parse_rule(text);
      rules.push_back({{"match", rule.match}, {"format", rule.format.format}});
      if (rule.format.group_size) rules.back()["group_size"] = *rule.format.group_size;
    }
    return rules;
  }

  nlohmann::json values_ = nlohmann::json::object();
  std::string given_;
};

/// A size that the command line and a recipe file may both give, but not differently; 0 is none.
void merge(cli::Index& argument, const std::optional<cli::Index>& file, const std::string& option) {
  if (argument != 0 && file && *file != argument)
    throw pare::ArgumentError(option + " " + std::to_string(argument) +
                              " contradicts --recipe, which says " + std::to_string(*file));
  if (file) argument = *file;
}

/// The recipe file of a command, whose options say nothing then but how to calibrate.
template <class Command>
cli::RecipeFile read_recipe_file(Command& command, const std::string& given) {
  if (!given.empty())
    throw pare::ArgumentError(given + " beside --recipe: the file alone says what is done");
  const cli::RecipeFile file = cli::read_recipe(command.recipe_file);
  merge(command.model.window, file.window, "--window");
  merge(command.calibration.windows, file.windows, "--calib-windows");
  if (file.stride && command.calibration.stride != 1 && *file.stride != command.calibration.stride)
    throw pare::ArgumentError("--calib-stride contradicts --recipe");
  if (file.stride) command.calibration.stride = *file.stride;
  return file;
}

/// The recipe from --recipe, or from the options that describe one.
void read_recipe(cli::QuantizeCommand& command, const StepArguments<Recipe>& arguments,
                 const std::string& prune) {
  if (command.recipe_file.empty()) {
    command.recipe = cli::recipe_from_values(arguments.values());
    if (!prune.empty()) command.prune = cli::parse_prune(prune);
    return;
  }
  const cli::RecipeFile file =
      read_recipe_file(command, prune.empty() ? arguments.given() : "--prune");
  if (!file.quantize)
    throw pare::ArgumentError(command.recipe_file.string() +
                              " has no step \"quantize\": pare prune follows it");
  command.recipe = *file.quantize;
  command.prune = file.prune;
}

/// Refuses options that are another step's alone, which is the one to be done `when`.
template <class Step, class Other>
void require_options_of(const nlohmann::json& values, const std::string& when) {
  for (const auto& option : cli::options_of<Other>()) {
    const auto& own = cli::options_of<Step>();
    const bool is_own =
        std::any_of(own.begin(), own.end(), [&](const auto& o) { return o.name == option.name; });
    if (!is_own && values.contains(std::string(option.name)))
      throw pare::ArgumentError(std::string(option.flag) + " has no effect " + when);
  }
}

/// Weights or, where the options name a structure, whole parts.
void read_recipe(cli::PruneCommand& command, const StepArguments<cli::PruneRecipe>& arguments) {
  if (command.recipe_file.empty()) {
    const nlohmann::json& values = arguments.values();
    if (values.contains("structure") || values.contains("replay")) {
      require_options_of<cli::StructureRecipe, cli::PruneRecipe>(values, "with --structure");
      command.structure = cli::step_from_values<cli::StructureRecipe>(values);
    } else {
      require_options_of<cli::PruneRecipe, cli::StructureRecipe>(values, "without --structure");
      command.recipe = cli::step_from_values<cli::PruneRecipe>(values);
    }
    return;
  }
  const cli::RecipeFile file = read_recipe_file(command, arguments.given());
  command.structure = file.structure;
  if (file.structure) return;
  if (!file.prune || file.quantize)
    throw pare::ArgumentError(command.recipe_file.string() +
                              " does not only prune: pare quantize follows it");
  command.recipe = *file.prune;
}

CLI::Option* add_model(CLI::App& command, cli::ModelOptions& model) {
  command.add_option("--threads", model.threads, "threads (default: all cores)")->type_name("N");
  return command
      .add_option("MODEL", model.model,
                  "Hugging Face directory: config.json and safetensors (default: the demo model)")
      ->type_name("DIR");
}

void add_map(CLI::App& command, cli::ModelOptions& model) {
  command.add_flag("--map", model.map,
                   "packed model: use its files as they are mapped, at once, instead of loading "
                   "them into huge pages");
}

void add_window(CLI::App& command, cli::ModelOptions& model) {
  command
      .add_option("--window", model.window,
                  "tokens per window of text (default: the model's context, at most 512)")
      ->type_name("N");
}

void add_text(CLI::App& command, cli::TextOptions& text) {
  auto* option = command.add_option("--text", text.text,
                                    "text to evaluate on (default: eval.txt beside the model)");
  option->type_name("FILE");
  command.add_option("--tokens", text.tokens, "token ids instead of text: .npy or raw int32")
      ->type_name("FILE")
      ->excludes(option);
  command
      .add_option("--inputs", text.inputs,
                  "of encoders: safetensors with input_ids or pixel_values, and labels (default: "
                  "eval.safetensors beside the model)")
      ->type_name("FILE")
      ->excludes(option);
}

void add_no_speed(CLI::App& command, bool& speed) {
  command.add_flag_callback(
      "--no-speed", [&speed] { speed = false; }, "measure quality alone");
}

void add_calibration(CLI::App& command, cli::CalibrationOptions& calibration) {
  auto* text = command.add_option("--calib", calibration.text,
                                  "calibration text (default: calib.txt beside the model)");
  text->type_name("FILE");
  command.add_option("--calib-tokens", calibration.tokens, "token ids: .npy or raw int32")
      ->type_name("FILE")
      ->excludes(text);
  command
      .add_option("--calib-inputs", calibration.inputs,
                  "of encoders: safetensors with input_ids or pixel_values (default: "
                  "calib.safetensors beside the model)")
      ->type_name("FILE")
      ->excludes(text);
  command.add_option("--calib-windows", calibration.windows, "use the first N windows; 0 is all")
      ->type_name("N");
  command.add_option("--calib-stride", calibration.stride, "of a text: use every N-th window")
      ->type_name("N")
      ->capture_default_str();
}

CLI::App* add_sensitivity(CLI::App& app, cli::SensitivityCommand& options) {
  auto* command = app.add_subcommand(
      "sensitivity",
      "prune each layer alone, at several sparsities, and print what that costs the whole model: "
      "KL to the float model and bits per byte, a line as each layer is ready. What hurts least "
      "can "
      "lose more (pare prune --allocate FILE).");
  add_model(*command, options.model);
  command
      ->add_option("--method", options.method,
                   "a score (wanda, magnitude, ria ...) or an update (sparsegpt, alps ...), as in "
                   "pare compare --prune METHOD:SPARSITY")
      ->type_name("TEXT")
      ->capture_default_str();
  command
      ->add_option("--sparsity", options.sparsity,
                   "comma-separated shares of a layer's weights that go (default: 0.3,0.5,0.7,0.9)")
      ->type_name("LIST");
  command
      ->add_option("--pattern", options.pattern,
                   "unstructured, N:M (which says the share itself) or blocks-RxC")
      ->type_name("TEXT")
      ->capture_default_str();
  command
      ->add_option(
          "--layers", options.layers,
          "only the layers whose whole names this regular expression matches (default: all "
          "of the blocks)")
      ->type_name("TEXT");
  command
      ->add_option("--eval-windows", options.eval_windows,
                   "evaluate on the first N windows, 0 is all (default: those of the first 16384 "
                   "tokens)")
      ->type_name("N");
  command
      ->add_option("--report", options.report,
                   "also write a row for each layer and sparsity to FILE.json or FILE.csv")
      ->type_name("FILE");
  command
      ->add_option("--plot", options.plot,
                   "also draw KL over the blocks, a line for each kind of layer, to FILE.svg")
      ->type_name("FILE");
  add_window(*command, options.model);
  add_calibration(*command, options.calibration);
  add_text(*command, options.text);
  return command;
}

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

  cli::CompareOptions compare;
  compare.model.model = demo;
  StepArguments<Recipe> compare_recipe;
  auto* c = app.add_subcommand("compare",
                               "quantize in many ways and print a table of size, "
                               "quality and speed, a row as each is ready");
  add_model(*c, compare.model);
  c->add_option("--methods", compare.methods,
                "comma-separated: " + cli::list_of(cli::method_names) + " (default: a panel)");
  c->add_option("--formats", compare.formats,
                "comma-separated: " + cli::list_of(cli::format_names));
  c->add_option("--prune", compare.prune,
                "also prune: comma-separated METHOD:PATTERN or METHOD:SPARSITY, like "
                "wanda:0.5,alps:2:4, STRUCTURE:RATIO[:SCORE][:UPDATE] like mlp:0.5:flap:refit, or "
                "panel; without --methods and --formats alone");
  compare_recipe.add(*c, true);
  add_window(*c, compare.model);
  add_calibration(*c, compare.calibration);
  add_text(*c, compare.text);
  add_no_speed(*c, compare.speed);
  c->add_option("--report", compare.report, "also write the rows to FILE.json or FILE.csv")
      ->type_name("FILE");

  cli::QuantizeCommand quantize;
  quantize.model.model = demo;
  StepArguments<Recipe> quantize_recipe;
  auto* q = app.add_subcommand("quantize",
                               "quantize block by block into a new model directory; "
                               "after a kill the same command resumes");
  add_model(*q, quantize.model);
  q->add_option("--out", quantize.out, "directory to write")->required()->type_name("DIR");
  q->add_flag("--force", quantize.force, "replace an existing --out");
  q->add_option(
       "--recipe", quantize.recipe_file,
       "a recipe file, as pare_recipe.json in what this command writes, instead of options")
      ->type_name("FILE");
  quantize_recipe.add(*q);
  std::string quantize_prune;
  q->add_option("--prune", quantize_prune,
                "prune in the same pass, METHOD:PATTERN or METHOD:SPARSITY, like sparsegpt:2:4 or "
                "alps:0.5")
      ->type_name("TEXT");
  add_window(*q, quantize.model);
  add_calibration(*q, quantize.calibration);

  cli::PruneCommand prune;
  prune.model.model = demo;
  StepArguments<cli::PruneRecipe> prune_recipe;
  auto* r = app.add_subcommand("prune",
                               "prune block by block into a new model directory; after a kill the "
                               "same command resumes");
  add_model(*r, prune.model);
  r->add_option("--out", prune.out, "directory to write")->required()->type_name("DIR");
  r->add_flag("--force", prune.force, "replace an existing --out");
  r->add_option(
       "--recipe", prune.recipe_file,
       "a recipe file, as pare_recipe.json in what this command writes, instead of options")
      ->type_name("FILE");
  prune_recipe.add(*r);
  prune_recipe.add_instead<cli::StructureRecipe>(*r);
  add_window(*r, prune.model);
  add_calibration(*r, prune.calibration);

  cli::TrainCommand train;
  train.model.model = demo;
  StepArguments<cli::TrainRecipe> train_recipe;
  auto* n = app.add_subcommand(
      "train",
      "train a model, from a teacher, with its layers rounded, or both, into a new model "
      "directory; after a kill or Ctrl-C the same command goes on");
  add_model(*n, train.model);
  n->add_option("--data", train.data, "text to train on (default: calib.txt beside the model)")
      ->type_name("FILE");
  n->add_option("--tokens", train.tokens, "token ids instead: .npy or raw int32")
      ->type_name("FILE");
  n->add_option("--teacher", train.teachers, "a model whose answers are learned; may be repeated")
      ->type_name("DIR");
  n->add_option("--teacher-cache", train.teacher_cache,
                "keep what teachers say in FILE, and ask them only what is not there")
      ->type_name("FILE");
  n->add_option("--out", train.out, "directory to write")->required()->type_name("DIR");
  n->add_flag("--force", train.force, "replace an existing --out");
  train_recipe.add(*n);
  add_window(*n, train.model);
  n->add_option(
       "--log", train.log,
       "also write the numbers of each step there: for TensorBoard, as CSV and as JSON lines")
      ->type_name("DIR");
  n->add_option("--save-every", train.save_every,
                "steps between states that a killed run goes on from")
      ->capture_default_str();
  n->add_option("--print-every", train.print_every, "steps between lines")->capture_default_str();

  cli::SensitivityCommand sensitivity;
  sensitivity.model.model = demo;
  auto* s = add_sensitivity(app, sensitivity);

  cli::PackCommand pack;
  auto* p = app.add_subcommand("pack",
                               "write a quantized model's packed form, which the other commands "
                               "load without packing; after a kill the same command resumes");
  add_model(*p, pack.model)
      ->description("quantized directory of any layout: pare, gptq or awq")
      ->required();
  p->add_option("--out", pack.out, "directory to write")->required()->type_name("DIR");
  p->add_flag("--force", pack.force, "replace an existing --out");

  cli::EvalCommand eval;
  eval.model.model = demo;
  auto* e = app.add_subcommand("eval", "measure a float or quantized model on a text");
  add_model(*e, eval.model);
  add_map(*e, eval.model);
  e->add_option("--reference", eval.reference, "float model to compare the predictions with")
      ->type_name("DIR");
  add_window(*e, eval.model);
  add_text(*e, eval.text);
  add_no_speed(*e, eval.speed);
  e->add_option("--report", eval.report, "also write the numbers to FILE.json")->type_name("FILE");
  e->add_option("--logits", eval.logits,
                "also write the tokens and logits of the first window to FILE.safetensors")
      ->type_name("FILE");

  cli::BenchCommand bench;
  bench.model.model = demo;
  auto* b = app.add_subcommand("bench", "measure speed beside the limits of the machine");
  add_model(*b, bench.model);
  add_map(*b, bench.model);
  b->add_option("--prompt", bench.prompt,
                "tokens read at once (default: 512, fewer where the context is shorter)");
  b->add_option("--tokens", bench.tokens, "tokens decoded after them")->capture_default_str();

  cli::GenerateCommand generate;
  generate.model.model = demo;
  auto* g = app.add_subcommand("generate", "continue a text");
  add_model(*g, generate.model);
  add_map(*g, generate.model);
  g->add_option("--prompt", generate.prompt, "text to continue")->type_name("TEXT");
  g->add_option("--tokens", generate.tokens,
                "token ids to continue instead; ids are printed, one a line")
      ->type_name("FILE");
  g->add_option("--length", generate.length, "tokens to add")->capture_default_str();
  g->add_option("--temperature", generate.temperature, "0 takes the likeliest token")
      ->capture_default_str();
  g->add_option("--seed", generate.seed, "of the random choices")->capture_default_str();

  cli::LogitsCommand logits;
  logits.model.model = demo;
  auto* l =
      app.add_subcommand("logits", "write what a model answers, to compare with another engine");
  add_model(*l, logits.model);
  add_map(*l, logits.model);
  l->add_option("--inputs", logits.inputs,
                "safetensors with input_ids (attention_mask, token_type_ids) or pixel_values")
      ->type_name("FILE");
  l->add_option("--tokens", logits.tokens, "token ids of one text instead: .npy or raw int32")
      ->type_name("FILE");
  l->add_option("--out", logits.out, "file to write: FILE.safetensors")
      ->required()
      ->type_name("FILE");
  l->add_flag("--hidden", logits.hidden, "also what enters and leaves each block");
  l->add_flag("--decode", logits.decode,
              "also the answers to decode_ids of --inputs, one at a time behind the text");

  cli::TokenizeCommand tokenize;
  tokenize.model = demo;
  auto* t = app.add_subcommand("tokenize", "turn text into token ids, or ids into text");
  t->add_option("MODEL", tokenize.model,
                "directory with a tokenizer.json, or that file (default: the demo model)")
      ->type_name("DIR|FILE");
  auto* text = t->add_option("--text", tokenize.text, "text to turn into ids, in UTF-8");
  text->type_name("FILE");
  t->add_option("--pair", tokenize.pair, "second text, for models that read two at once")
      ->type_name("FILE")
      ->needs(text);
  t->add_flag("--plain", tokenize.plain, "no special tokens around the text")->needs(text);
  auto* ids = t->add_option("--decode", tokenize.ids, "ids to turn into text: .npy or raw int32");
  ids->type_name("FILE")->excludes(text);
  t->add_flag("--skip-special", tokenize.skip_special, "leave special tokens out of the text")
      ->needs(ids);
  t->add_option("--out", tokenize.out,
                "write the ids to FILE.npy, or the text to FILE, instead of printing them")
      ->type_name("FILE");

  cli::InspectCommand inspect;
  inspect.target = demo;
  auto* i =
      app.add_subcommand("inspect", "list what a model, a safetensors or a packed file holds");
  i->add_option("TARGET", inspect.target, "model directory, safetensors file or packed file")
      ->type_name("MODEL|FILE");

  cli::MakeCheckpointCommand make;
  auto* m = app.add_subcommand("make-checkpoint", "write a LLaMA-shaped model of random weights");
  m->add_option("--out", make.out, "directory to write")->required()->type_name("DIR");
  m->add_flag("--force", make.force, "replace an existing --out");
  m->add_option("--layers", make.layers, "decoder blocks")->capture_default_str();
  m->add_option("--hidden", make.hidden, "width of the model")->capture_default_str();
  m->add_option("--intermediate", make.intermediate, "width of the feed-forward layers")
      ->capture_default_str();
  m->add_option("--heads", make.heads, "attention heads")->capture_default_str();
  m->add_option("--kv-heads", make.kv_heads, "key-value heads")->capture_default_str();
  m->add_option("--vocab", make.vocab, "tokens; 256 means raw bytes")->capture_default_str();
  m->add_option("--dtype", make.dtype, "f32, f16 or bf16")->capture_default_str();
  m->add_option("--seed", make.seed, "of the random weights")->capture_default_str();

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
  if (c->parsed()) {
    compare.base = cli::recipe_from_values(compare_recipe.values());
    cli::compare(compare);
  } else if (q->parsed()) {
    read_recipe(quantize, quantize_recipe, quantize_prune);
    cli::quantize(quantize);
  } else if (r->parsed()) {
    read_recipe(prune, prune_recipe);
    cli::prune(prune);
  } else if (n->parsed()) {
    train.recipe = cli::step_from_values<cli::TrainRecipe>(train_recipe.values());
    cli::train(train);
  } else if (s->parsed()) {
    cli::sensitivity(sensitivity);
  } else if (p->parsed()) {
    cli::pack(pack);
  } else if (e->parsed()) {
    cli::eval(eval);
  } else if (b->parsed()) {
    cli::bench(bench);
  } else if (g->parsed()) {
    cli::generate(generate);
  } else if (l->parsed()) {
    cli::logits(logits);
  } else if (t->parsed()) {
    cli::tokenize(tokenize);
  } else if (i->parsed()) {
    cli::inspect(inspect);
  } else {
    cli::make_checkpoint(make);
  }
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
