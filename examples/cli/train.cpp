#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/content_hash.hpp"
#include "cli/held_out_text.hpp"
#include "cli/inputs.hpp"
#include "cli/model_copy.hpp"
#include "cli/model_fingerprint.hpp"
#include "cli/options.hpp"
#include "cli/output_directory.hpp"
#include "cli/pipeline/pipeline.hpp"
#include "cli/progress.hpp"
#include "cli/run_manifest.hpp"
#include "cli/student.hpp"
#include "pare/quantization/quantize.hpp"
#include "training/log/step_log.hpp"
#include "training/trainer.hpp"
#include "training/training_state.hpp"

namespace cli {
namespace {

/// Set by Ctrl-C: the step that runs is finished, its state saved.
std::atomic<bool> interrupted{false};

/// Between its making and its end Ctrl-C sets `interrupted`.
class CatchInterrupt {
 public:
  CatchInterrupt() : before_(std::signal(SIGINT, [](int) { interrupted.store(true); })) {
    interrupted.store(false);
  }
  CatchInterrupt(const CatchInterrupt&) = delete;
  CatchInterrupt& operator=(const CatchInterrupt&) = delete;
  ~CatchInterrupt() { std::signal(SIGINT, before_); }

 private:
  void (*before_)(int);
};

/// A model in memory whose layers are float: those that are quantized as what their codes stand
/// for, which are kept beside.
struct FloatModel {
  engine::Model model;
  std::map<std::string, pare::AnyQuantizedMatrix> codes;  ///< by the layer's name
  std::map<std::string, pare::ActivationOptions> activations;
};

FloatModel load_float(const engine::Checkpoint& checkpoint, const pare::Execution& execution) {
  FloatModel loaded{checkpoint.load(execution), {}, {}};
  for (Index b = 0; b < checkpoint.config().layers; ++b) {
    engine::Block& block = loaded.model.blocks[static_cast<std::size_t>(b)];
    for (std::size_t i = 0; i < block.linears.size(); ++i) {
      const std::string name = checkpoint.config().linear_name(b, i);
      auto codes = checkpoint.quantized_linear(name);
      if (!codes) continue;
      pare::Vector<float> bias = block.linears[i].bias();
      block.linears[i] = engine::Linear(codes->weight.dequantize());
      if (!bias.empty()) block.linears[i].set_bias(std::move(bias));
      if (codes->activations) loaded.activations.emplace(name, *codes->activations);
      loaded.codes.emplace(name, std::move(codes->weight));
    }
  }
  return loaded;
}

/// Puts what was trained into the blocks on their way to the new model.
class TrainedStep final : public Step {
 public:
  TrainedStep(const engine::Model& trained,
              const std::map<std::string, engine::QuantizedLinear>& quantized)
      : trained_(trained), quantized_(quantized) {}

  [[nodiscard]] Needs needs() const override { return {}; }
  [[nodiscard]] bool wants(const std::string& layer) const override {
    return layer != trained_.config.names.output;
  }
  void compress(BlockInWork& work, const Observations&, const Listener&) override {
    const engine::Block& from = trained_.blocks[static_cast<std::size_t>(work.index)];
    work.block.norms = from.norms;
    work.block.query_norm = from.query_norm;
    work.block.key_norm = from.key_norm;
    for (std::size_t i = 0; i < from.linears.size(); ++i) work.block.linears[i] = from.linears[i];
    for (const Layer& layer : work.layers)
      if (const auto found = quantized_.find(layer.name); found != quantized_.end())
        work.quantized.emplace(layer.name, found->second);
  }
  [[nodiscard]] engine::QuantizedLinear compress_output_layer(
      const std::string& name, pare::MatrixView<const float>) override {
    throw pare::Error(name + ": the output layer is not quantized");
  }

 private:
  const engine::Model& trained_;
  const std::map<std::string, engine::QuantizedLinear>& quantized_;
};

/// What is logged of a step.
std::vector<training::LoggedValue> scalars_of(const training::StepReport& report,
                                              double tokens_per_second) {
  std::vector<training::LoggedValue> scalars{{"loss", report.loss}};
  for (const auto& term : report.terms) scalars.push_back({"loss/" + term.name, term.value});
  scalars.push_back({"gradient_norm", report.gradient_norm});
  for (const auto& term : report.terms)
    scalars.push_back({"gradient_norm/" + term.name, term.gradient_norm});
  scalars.push_back({"lr", report.rate});
  scalars.push_back({"tokens_per_second", tokens_per_second});
  return scalars;
}

std::string step_text(const training::StepReport& report, double tokens_per_second) {
  char text[160];
  std::snprintf(text, sizeof text, "loss %.5f, gradient %.3f, %.0f tokens/s", report.loss,
                report.gradient_norm, tokens_per_second);
  return text;
}

training::TrainerOptions trainer_options(const TrainRecipe& recipe, bool is_quantized) {
  using training::Trained;
  const std::string train = !recipe.train.empty() ? recipe.train
                            : is_quantized        ? "layers"
                                                  : "everything";
  return {.rate = {.peak = recipe.rate,
                   .warm_up = recipe.warm_up,
                   .steps = recipe.steps,
                   .last_share = recipe.last_rate,
                   .fall = recipe.schedule == "linear"     ? training::RateFall::linear
                           : recipe.schedule == "constant" ? training::RateFall::none
                                                           : training::RateFall::cosine},
          .clip = recipe.clip,
          .accumulate = recipe.accumulate,
          .trained = train == "layers"  ? Trained::layers
                     : train == "norms" ? Trained::norms
                                        : Trained::everything,
          .scale_rate = recipe.scale_rate,
          .again = recipe.recompute};
}

std::unique_ptr<training::Optimizer> make_optimizer(const TrainRecipe& recipe, bool is_quantized) {
  const double decay = recipe.weight_decay.value_or(is_quantized ? 0.0 : 0.1);
  if (recipe.optimizer == "sgd") return training::make_sgd({.weight_decay = decay});
  return training::make_adamw({.weight_decay = decay});
}

/// Codes to begin with: those of the model, or its weights rounded to nearest.
training::QuantizedWeights begin_quantized(const TrainRecipe& recipe, const FloatModel& model,
                                           training::LanguageModel<float>& trained,
                                           const pare::Execution& execution) {
  training::QuantizedWeights weights;
  const auto format = recipe.quantized();
  for (const std::size_t p : trained.layers()) {
    const training::Parameter<float>& parameter = trained.parameters()[p];
    const std::string name = parameter.name.substr(0, parameter.name.rfind(".weight"));
    pare::with_context(name, [&] {
      if (const auto found = model.codes.find(name); found != model.codes.end())
        return weights.add(p, found->second);
      if (!format) return;
      pare::with_format(format->format, [&]<class F>(pare::TypeTag<F>) {
        weights.add(
            p, pare::quantize<F>(parameter.value, {.group_size = format->group_size}, execution));
      });
    });
  }
  return weights;
}

/// The masks that --masks and --keep-zeros name.
training::WeightMasks begin_masks(const TrainRecipe& recipe,
                                  const training::LanguageModel<float>& model) {
  training::WeightMasks masks;
  if (recipe.keep_zeros) masks.keep_zeros(model);
  if (recipe.masks.empty()) return masks;
  if (const auto gradual = recipe.gradual_pruning()) {
    masks.remove_gradually(model, *gradual);
    return masks;
  }
  const engine::Checkpoint pattern(recipe.masks);
  pattern.require_forward();
  if (!pattern.quantization().empty() && !pattern.is_masked())
    throw pare::ArgumentError(recipe.masks +
                              " is quantized: --masks takes the zeros of a pruned model");
  if (pattern.config().layers != std::ssize(model.blocks()))
    throw pare::ArgumentError(recipe.masks + " has " + std::to_string(pattern.config().layers) +
                              " blocks, the model " + std::to_string(model.blocks().size()));
  for (std::size_t b = 0; b < model.blocks().size(); ++b) {
    const engine::Block block = pattern.block(static_cast<Index>(b));
    const auto& layers = model.blocks()[b].linears;
    for (std::size_t i = 0; i < layers.size(); ++i)
      pare::with_context(recipe.masks, [&] {
        masks.keep(model, layers[i].weight, pare::nonzero_mask(block.linears.at(i).dense()));
      });
    pattern.release_pages();
  }
  return masks;
}

/// Models that teach, and what they are, for manifests.
struct Teachers {
  std::vector<engine::Model> models;
  nlohmann::json fingerprints = nlohmann::json::array();

  [[nodiscard]] std::vector<const engine::Model*> pointers() const {
    std::vector<const engine::Model*> all;
    for (const engine::Model& model : models) all.push_back(&model);
    return all;
  }
};

/// A model of which no number is read here: it need not be finite.
nlohmann::json fingerprint_of(const engine::Checkpoint& checkpoint) {
  return model_fingerprint(checkpoint.files(), [](const std::string&) { return false; });
}

Teachers load_teachers(const std::vector<std::filesystem::path>& directories,
                       const pare::Execution& execution) {
  Teachers teachers;
  for (const auto& directory : directories) {
    const engine::Checkpoint teacher(directory);
    teacher.require_forward();
    if (teacher.config().encoder)
      throw pare::ArgumentError(directory.string() + " is an encoder and teaches no decoder");
    teachers.models.push_back(teacher.load(execution));
    teachers.fingerprints.push_back(fingerprint_of(teacher));
  }
  return teachers;
}

/// The recipe with what is not said spelled out.
TrainRecipe spelled_out(const TrainCommand& options, Index vocabulary) {
  TrainRecipe recipe = options.recipe;
  if (recipe.loss.empty()) recipe.loss = options.teachers.empty() ? "ce" : "kd";
  if (recipe.top_k > 0 && options.teacher_cache.empty())
    throw pare::ArgumentError("--teacher-top-k goes with --teacher-cache");
  if (recipe.top_k == 0 && !options.teacher_cache.empty())
    recipe.top_k = std::min<Index>(64, vocabulary);
  return recipe;
}

/// The steps that a state in `directory` has not done yet; Ctrl-C ends them after one is saved.
void run_steps(training::Trainer& trainer, training::LanguageModel<float>& model,
               const TrainCommand& options, const std::string& key, Index tokens_of_step,
               HeldOutText* held_out, const OutputDirectory& directory,
               const pare::Execution& execution) {
  const Index steps = options.recipe.steps;
  const std::filesystem::path state = directory.file_path(training_state_name);
  const std::int64_t done = training::load_state(state, key, trainer.trainables(),
                                                 trainer.optimizer(), trainer.state_parts())
                                .value_or(0);
  if (done > 0)
    std::fprintf(stderr, "resuming: %lld of %td steps are done\n", static_cast<long long>(done),
                 steps);
  std::optional<training::StepLog> log;
  if (!options.log.empty()) log.emplace(options.log, done);
  const CatchInterrupt catch_interrupt;
  std::int64_t saved = done;
  const auto save = [&](std::int64_t finished) {
    training::save_state(state, key, trainer.trainables(), trainer.optimizer(), finished,
                         trainer.state_parts());
    saved = finished;
  };
  Progress progress("training", steps, done, "step");
  const auto look = [&](std::int64_t finished) {
    if (!held_out) return;
    held_out->look(model, trainer, finished);
    progress.clear();
    std::printf("%5lld steps: %s\n", static_cast<long long>(finished), held_out->text().c_str());
    std::fflush(stdout);
  };
  look(done);
  for (std::int64_t step = done; step < steps; ++step) {
    progress.pass(step);
    const Stopwatch one;
    training::StepReport report;
    try {
      report = trainer.step(step, execution);
    } catch (const pare::NumericError&) {
      if (saved < step) save(step);
      throw;
    }
    const bool is_last = step + 1 == steps;
    const double speed = static_cast<double>(tokens_of_step) / one.seconds();
    const std::string text = step_text(report, speed);
    if (step % options.print_every == 0 || is_last) {
      progress.clear();
      std::printf("step %5lld: %s\n", static_cast<long long>(step), text.c_str());
      std::fflush(stdout);
    }
    if (held_out && ((step + 1) % options.eval_every == 0 || is_last)) look(step + 1);
    if (log) {
      auto scalars = scalars_of(report, speed);
      if (held_out) held_out->add_to(scalars);
      log->add(step, scalars);
    }
    progress.step(text, 1.0);
    if (interrupted.load() || (step + 1) % options.save_every == 0 || is_last) save(step + 1);
    if (interrupted.load() && !is_last)
      throw pare::Error("interrupted after step " + std::to_string(step));
  }
}

/// What quantized layers ship, by name; their inputs are quantized as before.
std::map<std::string, engine::QuantizedLinear> quantized_layers(
    const training::QuantizedWeights& weights, const training::LanguageModel<float>& model,
    const std::map<std::string, pare::ActivationOptions>& activations) {
  std::map<std::string, engine::QuantizedLinear> layers;
  weights.finish(model, [&](const std::string& weight, pare::AnyQuantizedMatrix codes) {
    const std::string name = weight.substr(0, weight.rfind(".weight"));
    engine::QuantizedLinear layer{std::move(codes)};
    if (const auto found = activations.find(name); found != activations.end())
      layer.activations = found->second;
    layers.emplace(name, std::move(layer));
  });
  return layers;
}

void train_model(const TrainCommand& options) {
  const TrainRecipe& recipe = options.recipe;
  for (const auto& [value, flag] : {std::pair(options.save_every, "--save-every"),
                                    std::pair(options.print_every, "--print-every")})
    if (value < 1)
      throw pare::ArgumentError(std::string(flag) + " " + std::to_string(value) +
                                " is not positive");
  for (const auto& [value, flag] : {std::pair(options.eval_every, "--eval-every"),
                                    std::pair(options.eval_windows, "--eval-windows")})
    if (value < 0)
      throw pare::ArgumentError(std::string(flag) + " " + std::to_string(value) + " is negative");
  if (options.eval_every == 0 && !options.eval_text.empty())
    throw pare::ArgumentError("--eval-text has no effect without --eval-every");
  Runtime runtime = options.model.runtime();
  const pare::Execution execution = runtime.execution();
  InputPaths inputs = input_paths(options.model);
  inputs.add_file(options.data);
  inputs.add_file(options.tokens);
  inputs.add_file(options.eval_text);
  inputs.add_file(options.recipe_file);
  inputs.add_file(options.teacher_cache);
  for (const auto& teacher : options.teachers) inputs.add_model(teacher);
  if (!recipe.masks.empty() && !recipe.gradual_pruning()) inputs.add_model(recipe.masks);
  const OutputPath out(options.out, options.force, inputs);

  const engine::Checkpoint checkpoint(options.model.model);
  checkpoint.require_forward();
  refuse_masks(checkpoint);
  if (checkpoint.packed())
    throw pare::ArgumentError(options.model.model.string() +
                              " is packed, to be run: train the model that it was packed from");
  require_text_files(checkpoint.files());
  const bool stores_codes = !checkpoint.quantization().empty();
  if (stores_codes && !recipe.quantize.empty())
    throw pare::ArgumentError(options.model.model.string() + " is quantized already (by " +
                              checkpoint.quantization() +
                              "), and is trained as it is: leave --quantize out");
  const bool is_quantized = stores_codes || !recipe.quantize.empty();
  const Index length = window_length(options.model, checkpoint.config());
  const Tokens tokens = training_tokens(options, checkpoint);
  const training::TextBatches batches(tokens.ids, length, recipe.batch,
                                      static_cast<std::uint64_t>(recipe.seed));

  const Teachers teachers = load_teachers(options.teachers, execution);
  const TrainRecipe stated = spelled_out(options, checkpoint.config().vocab_size);
  nlohmann::json values = manifest_of_step(stated);
  ContentHash data;
  data.add(
      {reinterpret_cast<const char*>(tokens.ids.data()), tokens.ids.size() * sizeof tokens.ids[0]});
  values["data"] = data.hex();
  values["window"] = length;
  values["teachers"] = teachers.fingerprints;
  const nlohmann::json answers_key{{"teachers", teachers.fingerprints},
                                   {"data", data.hex()},
                                   {"window", length},
                                   {"batch", recipe.batch},
                                   {"seed", recipe.seed}};
  if (!recipe.masks.empty() && !recipe.gradual_pruning())
    values["masks_of"] = fingerprint_of(engine::Checkpoint(recipe.masks));
  const nlohmann::json manifest = run_manifest(values, {}, checkpoint, std::nullopt);
  const std::string key = manifest.dump();

  const FloatModel loaded = load_float(checkpoint, execution);
  training::LanguageModel<float> model(loaded.model);
  training::Trainer trainer(model, batches, training::parse_objective(stated.loss),
                            teachers.pointers(), make_optimizer(recipe, is_quantized),
                            trainer_options(recipe, is_quantized));
  if (is_quantized) trainer.quantize(begin_quantized(recipe, loaded, model, execution));
  if (!options.teacher_cache.empty())
    trainer.cache(std::make_unique<training::TeacherCache>(
        options.teacher_cache, answers_key.dump(),
        training::TeacherCacheOptions{
            .tokens = batches.tokens(),
            .classes = checkpoint.config().vocab_size,
            .kept = stated.top_k,
            .temperature = training::top_k_temperature(training::parse_objective(stated.loss))}));
  trainer.mask(begin_masks(recipe, model));
  if (recipe.average > 0.0) trainer.average(recipe.average);

  engine::Model trained = loaded.model;
  std::map<std::string, engine::QuantizedLinear> quantized;
  const Stopwatch watch;
  std::optional<HeldOutText> held_out;
  if (options.eval_every > 0)
    held_out.emplace(evaluation_tokens({.text = options.eval_text}, checkpoint), length,
                     options.eval_windows, execution);
  const auto run = [&](const OutputDirectory& directory) {
    run_steps(trainer, model, options, key, batches.tokens() * recipe.accumulate,
              held_out ? &*held_out : nullptr, directory, execution);
    trainer.settle(execution);
    trained = model.to_engine(loaded.model);
    quantized = quantized_layers(trainer.quantized(), model, loaded.activations);
  };
  const auto other_values = [&](const std::string& name) -> std::optional<pare::Matrix<float>> {
    for (const auto& parameter : model.parameters())
      if (parameter.name == name) return pare::Matrix<float>(parameter.read());
    return std::nullopt;
  };
  const RecipeFile saved{.train = stated, .window = length};
  Steps steps;
  steps.push_back(std::make_unique<TrainedStep>(trained, quantized));
  (void)compress_model(checkpoint, steps,
                       {.path = out,
                        .layout = is_quantized ? FileLayout() : FileLayout::of_float_model(),
                        .manifest = manifest,
                        .recipe = recipe_json(saved),
                        .other_values = other_values},
                       nullptr, execution, "writing", 0, run);
  std::printf("%s: %td steps of %td tokens, %.1f s\n", options.out.string().c_str(), recipe.steps,
              batches.tokens() * recipe.accumulate, watch.seconds());
}

/// A file beside the model that commands read unasked, where there is one.
std::filesystem::path beside(const std::filesystem::path& model, const char* name) {
  const auto path = model / name;
  return std::filesystem::exists(path) ? path : std::filesystem::path();
}

/// Trains the student of --student; the model teaches it, unless other teachers are named.
void train_student(TrainCommand options) {
  const std::filesystem::path model = options.model.model;
  InputPaths inputs = input_paths(options.model);
  if (std::filesystem::exists(options.recipe.student)) inputs.add_model(options.recipe.student);
  const OutputPath out(options.out, options.force, inputs);
  const engine::Checkpoint of(model);
  of.require_forward();
  require_float(of, ": a student is made of a float model");
  const Student student(options.recipe.student, of, out.directory(),
                        static_cast<std::uint64_t>(options.recipe.seed));
  if (options.teachers.empty()) options.teachers = {model};
  if (options.data.empty() && options.tokens.empty()) options.data = beside(model, "calib.txt");
  if (options.eval_every > 0 && options.eval_text.empty())
    options.eval_text = beside(model, "eval.txt");
  options.model.model = student.directory();
  train_model(options);
}

}  // namespace

void train(const TrainCommand& options) {
  options.recipe.validate();
  if (options.recipe.student.empty())
    train_model(options);
  else
    train_student(options);
}

}  // namespace cli
