#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include "cli/options.hpp"
#include "cli/standard_output.hpp"
#include "pare/version.hpp"

namespace {

using cli::Recipe;

/// Recipe options as text: parsed after CLI11, so that errors list what would work.
struct RecipeText {
  std::string method = "rtn", format = "int4", range = "minmax", scales, observer = "minmax",
              save_as = "pare", output_layer = "float";
  bool act_order = false, no_static_groups = false, activation_zero_point = false;
  cli::Index group_size = 0;
  CLI::Option* group_size_option = nullptr;

  [[nodiscard]] Recipe parse(Recipe recipe) const {
    recipe.method = cli::parse_name<cli::Method>(cli::method_names, method, "method");
    recipe.format = format;
    if (group_size_option->count() > 0) recipe.group_size = group_size;
    recipe.act_order = act_order;
    if (no_static_groups && !act_order)
      throw pare::ArgumentError(
          "--no-static-groups needs --act-order: other sweeps have no static "
          "groups");
    recipe.static_groups = act_order && !no_static_groups;
    recipe.observer = cli::parse_name<cli::ObserverKind>(cli::observer_names, observer, "observer");
    recipe.activation_zero_point = activation_zero_point;
    recipe.save_as = cli::parse_name<cli::SaveAs>(cli::save_as_names, save_as, "file format");
    recipe.output_layer =
        cli::parse_name<cli::OutputLayer>(cli::output_layer_names, output_layer, "output layer");
    if (range == "mse")
      recipe.range = pare::RangeMethod::mse_clip;
    else if (range != "minmax")
      throw pare::ArgumentError("unknown range \"" + range + "\"; there are minmax, mse");
    if (scales == "f16")
      recipe.scale_type = pare::ScaleType::f16;
    else if (scales == "bf16")
      recipe.scale_type = pare::ScaleType::bf16;
    else if (scales == "f32")
      recipe.scale_type = pare::ScaleType::f32;
    else if (!scales.empty())
      throw pare::ArgumentError("unknown scale type \"" + scales + "\"; there are f16, bf16, f32");
    // Tools that read these files expect 16-bit scales, at 8 bits and per row too.
    if (recipe.save_as != cli::SaveAs::pare && !recipe.scale_type)
      recipe.scale_type = pare::ScaleType::f16;
    return recipe;
  }
};

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
  command
      .add_option("--text", text.text, "text to evaluate on (default: eval.txt beside the model)")
      ->type_name("FILE");
  command.add_option("--tokens", text.tokens, "token ids instead of text: .npy or raw int32")
      ->type_name("FILE");
}

void add_no_speed(CLI::App& command, bool& speed) {
  command.add_flag_callback(
      "--no-speed", [&speed] { speed = false; }, "measure quality alone");
}

void add_recipe(CLI::App& command, RecipeText& text, Recipe& recipe) {
  text.group_size_option =
      command
          .add_option("--group-size", text.group_size,
                      "weights that share a scale; -1 is a row (default: 64, at 8 bits -1)")
          ->type_name("N");
  command.add_flag("--act-order", text.act_order,
                   "gptq: quantize columns by falling importance; implies static groups");
  command.add_flag("--no-static-groups", text.no_static_groups,
                   "with --act-order: find group scales during the sweep");
  command.add_option("--damping", recipe.damping, "gptq: fraction of the mean Hessian diagonal")
      ->capture_default_str();
  command.add_option("--alpha", recipe.alpha, "smoothquant: share of the range moved to weights")
      ->capture_default_str();
  command.add_option("--range", text.range, "weight range: minmax or mse")->capture_default_str();
  command.add_option("--scales", text.scales,
                     "scale storage: f16, bf16 or f32 (default: f16 for groups, f32 per row)");
  command
      .add_option("--observer", text.observer,
                  "w8a8-static: minmax, moving-average, percentile, entropy or mse")
      ->capture_default_str();
  command.add_flag("--activation-zero-point", text.activation_zero_point,
                   "w8a8-static: asymmetric activations");
}

void add_calibration(CLI::App& command, cli::CalibrationOptions& calibration) {
  command
      .add_option("--calib", calibration.text,
                  "calibration text (default: calib.txt beside the model)")
      ->type_name("FILE");
  command.add_option("--calib-tokens", calibration.tokens, "token ids: .npy or raw int32")
      ->type_name("FILE");
  command.add_option("--calib-windows", calibration.windows, "use the first N windows; 0 is all")
      ->type_name("N");
}

int run(int argc, char** argv) {
  CLI::App app{
      "pare quantizes language models of the LLaMA family and shows what it costs and gains.\n"
      "Without MODEL every command but pack works on the demo model that comes with it."};
  app.require_subcommand(1);
  app.set_version_flag("--version", pare::version);
  const std::filesystem::path demo = PARE_DEMO_MODEL_DIR;

  cli::CompareOptions compare;
  compare.model.model = demo;
  RecipeText compare_text;
  auto* c = app.add_subcommand("compare",
                               "quantize in many ways and print a table of size, "
                               "quality and speed, a row as each is ready");
  add_model(*c, compare.model);
  c->add_option("--methods", compare.methods,
                "comma-separated: rtn, gptq, awq, awq+gptq, smoothquant (default: a panel)");
  c->add_option("--formats", compare.formats,
                "comma-separated: int8, uint8, int4, uint4, int3, uint3, int2, uint2, nf4, "
                "fp4, ternary, w8a8-dynamic, w8a8-static, w4a8-dynamic");
  add_recipe(*c, compare_text, compare.base);
  add_window(*c, compare.model);
  add_calibration(*c, compare.calibration);
  add_text(*c, compare.text);
  add_no_speed(*c, compare.speed);
  c->add_option("--report", compare.report, "also write the rows to FILE.json or FILE.csv")
      ->type_name("FILE");

  cli::QuantizeCommand quantize;
  quantize.model.model = demo;
  RecipeText quantize_text;
  auto* q = app.add_subcommand("quantize",
                               "quantize block by block into a new model directory; "
                               "after a kill the same command resumes");
  add_model(*q, quantize.model);
  q->add_option("--out", quantize.out, "directory to write")->required()->type_name("DIR");
  q->add_flag("--force", quantize.force, "replace an existing --out");
  q->add_option("--method", quantize_text.method, "rtn, gptq, awq, awq+gptq or smoothquant")
      ->capture_default_str();
  q->add_option("--format", quantize_text.format,
                "int8, uint8, int4, uint4, int3, uint3, int2, uint2, nf4, fp4, "
                "ternary, w8a8-dynamic, w8a8-static or w4a8-dynamic")
      ->capture_default_str();
  q->add_option("--save-as", quantize_text.save_as,
                "pare (everything), gptq (int and uint of 2, 3, 4, 8 bits) or awq (uint4)")
      ->capture_default_str();
  q->add_option("--output-layer", quantize_text.output_layer,
                "float (as it is) or int8: half of its bytes or a quarter, for pare files")
      ->capture_default_str();
  add_recipe(*q, quantize_text, quantize.recipe);
  add_window(*q, quantize.model);
  add_calibration(*q, quantize.calibration);

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

  if (c->parsed()) {
    compare.act_order = compare_text.act_order;
    compare.base = compare_text.parse(compare.base);
    cli::compare(compare);
  } else if (q->parsed()) {
    quantize.recipe = quantize_text.parse(quantize.recipe);
    cli::quantize(quantize);
  } else if (p->parsed()) {
    cli::pack(pack);
  } else if (e->parsed()) {
    cli::eval(eval);
  } else if (b->parsed()) {
    cli::bench(bench);
  } else if (g->parsed()) {
    cli::generate(generate);
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
  try {
    const int status = run(argc, argv);
    std::cout.flush();  // CLI11 prints help there
    cli::flush_standard_output();
    return status;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "pare: out of memory\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "pare: %s\n", error.what());
  }
  return 1;
}
