#include <algorithm>
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
#include "cli/trained_model.hpp"
#include "cli/training_steps.hpp"
#include "training/trainer.hpp"

namespace cli {
namespace {

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
