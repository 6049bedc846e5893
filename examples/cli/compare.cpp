#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/block_output_error.hpp"
#include "cli/comma_list.hpp"
#include "cli/comparison_table.hpp"
#include "cli/encoder_evaluation.hpp"
#include "cli/evaluation.hpp"
#include "cli/gradient_scores.hpp"
#include "cli/inputs.hpp"
#include "cli/options.hpp"
#include "cli/owl_allocation.hpp"
#include "cli/pipeline/block_pass.hpp"
#include "cli/progress.hpp"
#include "cli/prune_step.hpp"
#include "cli/quantize_step.hpp"
#include "cli/report.hpp"
#include "cli/speed.hpp"
#include "cli/standard_output.hpp"
#include "cli/structure/part_scores.hpp"
#include "cli/structure/structure_step.hpp"

namespace cli {
namespace {

/// The default panel, or every combination of the methods and formats given.
std::vector<Recipe> recipes_of(const CompareOptions& options) {
  std::vector<Recipe> recipes;
  if (options.methods.empty() && options.formats.empty()) {
    if (options.prune.empty()) recipes = default_panel(options.base);
  } else {
    std::vector<pare::ArgumentError> refused;
    for (const auto& method : comma_list(options.methods.empty() ? "rtn" : options.methods))
      for (const auto& format : comma_list(options.formats.empty() ? "int4" : options.formats)) {
        Recipe recipe = options.base;
        recipe.method = parse_name<Method>(method_names, method, "method");
        (void)parse_name<std::size_t>(format_names, format, "format");
        recipe.format = format;
        recipe.act_order = options.base.act_order && recipe.uses_gptq();
        recipe.static_groups = recipe.static_groups || !recipe.act_order;
        if (recipe.is_w8a8()) recipe.group_size.reset();
        try {
          recipe.validate();
          recipes.push_back(recipe);
        } catch (const pare::ArgumentError& error) {
          refused.push_back(error);
        }
      }
    // Of a list of methods and formats what combines is run; one that never does is an error.
    if (recipes.empty()) throw refused.front();
    for (const auto& error : refused) std::fprintf(stderr, "note: left out: %s\n", error.what());
    if (options.base.act_order &&
        std::none_of(recipes.begin(), recipes.end(), [](const Recipe& r) { return r.uses_gptq(); }))
      throw pare::ArgumentError("--act-order orders the columns of gptq and awq+gptq only");
  }
  for (const Recipe& recipe : recipes) recipe.validate();
  return recipes;
}

std::vector<PruneRecipe> prune_recipes_of(const CompareOptions& options) {
  if (options.prune.empty()) return {};
  std::vector<PruneRecipe> recipes;
  if (options.prune == "panel")
    recipes = prune_panel();
  else
    for (const std::string& item : comma_list(options.prune))
      if (!parse_structure(item)) recipes.push_back(parse_prune(item));
  for (PruneRecipe& recipe : recipes) {
    recipe.layers = options.base.layers;
    recipe.min_expert_tokens = options.base.min_expert_tokens;
    recipe.validate();
  }
  return recipes;
}

std::vector<StructureRecipe> structure_recipes_of(const CompareOptions& options) {
  std::vector<StructureRecipe> recipes;
  for (const std::string& item : comma_list(options.prune))
    if (const auto recipe = parse_structure(item)) recipes.push_back(*recipe);
  for (const StructureRecipe& recipe : recipes)
    if (recipe.structure == Structure::experts)
      throw pare::ArgumentError("--prune experts: use pare prune, and eval of what it writes");
  return recipes;
}

struct StoredSize {
  Index bytes = 0, parameters = 0;
};

/// All tensors of the float model as they are stored.
StoredSize stored_size(const engine::Checkpoint& checkpoint) {
  StoredSize size;
  for (const std::string& name : checkpoint.tensors().names()) {
    const auto& info = checkpoint.tensors().info(name);
    size.bytes += static_cast<Index>(info.bytes.size());
    size.parameters += static_cast<Index>(info.bytes.size()) * 8 / bits(info.dtype);
  }
  return size;
}

class Comparison {
 public:
  explicit Comparison(const CompareOptions& options)
      : options_(options),
        recipes_(recipes_of(options)),
        prune_recipes_(prune_recipes_of(options)),
        structure_recipes_(structure_recipes_of(options)),
        runtime_(options.model.runtime()),
        checkpoint_(options.model.model) {
    require_report_path("--report", options.report, {".json", ".csv"},
                        input_paths(options.model, options.calibration, options.text));
    require_float(checkpoint_, "; compare starts from a float model, use eval");
    layers_ = layers_of_model(checkpoint_.config());
    for (const Recipe& recipe : recipes_) {
      if (recipe.learns()) require_gradients(checkpoint_.config(), "autoround");
      require_shapes(recipe, formats_of_layers(recipe, layers_), layers_);
    }
    for (const PruneRecipe& recipe : prune_recipes_) (void)pruned_layers(recipe, layers_);
    for (const StructureRecipe& recipe : structure_recipes_)
      plans_.push_back(plan_structure(recipe, checkpoint_));
    checkpoint_.require_forward();
    const bool is_encoder = checkpoint_.config().encoder.has_value();
    if (is_encoder)
      encoder_inputs_ = evaluation_inputs(options.text, checkpoint_);
    else if (!options.text.inputs.empty())
      throw pare::ArgumentError("--inputs is of encoders; decoders read --text or --tokens");
    else
      tokens_ = evaluation_tokens(options.text, checkpoint_);
    const Index length = window_length(options.model, checkpoint_.config());
    if (std::any_of(recipes_.begin(), recipes_.end(),
                    [](const Recipe& r) { return r.needs_calibration(); }) ||
        std::any_of(prune_recipes_.begin(), prune_recipes_.end(),
                    [](const PruneRecipe& r) { return r.needs_calibration(); }) ||
        std::any_of(structure_recipes_.begin(), structure_recipes_.end(),
                    [](const StructureRecipe& r) { return r.needs_calibration(); }))
      calibration_.emplace(calibration_windows(options.calibration, checkpoint_, length));
    if (!is_encoder) windows_.emplace(tokens_, length);
    model_ = checkpoint_.load(runtime_.execution());
    size_ = stored_size(checkpoint_);
  }

  void run() {
    for (const Recipe& recipe : recipes_) warn_of_short_rows(recipe, layers_);
    const engine::BlockRunner runner(model_.config, runtime_.execution());
    std::optional<FloatCalibration> float_calibration;
    if (calibration_) float_calibration.emplace(runner, *model_.embedding, *calibration_);
    if (windows_)
      evaluator_.emplace(*windows_, &model_, runtime_.execution());
    else
      encoder_evaluator_.emplace(*encoder_inputs_, &model_, runtime_.execution());

    ReportRow row;
    row.method = "float";
    row.format = std::string(to_string(weight_dtype()));
    row.bits_per_weight = bits(weight_dtype());
    row.weight_bytes = size_.bytes;
    finish_row(row, model_);
    for (const Recipe& recipe : recipes_) {
      engine::Model quantized = model_.without_blocks();
      row = quantize(recipe, runner, float_calibration ? &*float_calibration : nullptr, quantized);
      add_kernel(recipe.format, quantized);
      finish_row(row, quantized);
    }
    for (const PruneRecipe& recipe : prune_recipes_) {
      engine::Model pruned = model_.without_blocks();
      row = prune(recipe, runner, pruned);
      finish_row(row, pruned);
    }
    for (std::size_t i = 0; i < structure_recipes_.size(); ++i) {
      engine::Model smaller = model_.without_blocks();
      row = take_out(structure_recipes_[i], plans_[i], runner, smaller);
      finish_row(row, smaller);
    }
    std::fputs(table_.legend().c_str(), stdout);
  }

 private:
  [[nodiscard]] pare::DType weight_dtype() const {
    return checkpoint_.tensors().info(checkpoint_.config().linear_name(0, 0) + ".weight").dtype;
  }

  ReportRow quantize(const Recipe& recipe, const engine::BlockRunner& runner,
                     FloatCalibration* float_calibration, engine::Model& quantized) {
    ReportRow row;
    row.method = std::string(name_of(method_names, recipe.method));
    row.format = recipe.format;
    row.group_size = recipe.weight_group_size();
    row.act_order = recipe.act_order;
    const Stopwatch watch;
    Steps steps;
    steps.push_back(std::make_unique<QuantizeStep>(
        recipe, formats_of_layers(recipe, layers_), runner,
        [&](const std::string& tensor) { return checkpoint_.tensors().info(tensor).dtype; }));
    Index quantized_bytes = 0, replaced_bytes = 0, weights = 0;
    run_steps(steps, row.method + " " + row.format, runner, float_calibration,
              recipe.min_expert_tokens, quantized, [&](const BlockInWork& result) {
                for (const auto& [name, linear] : result.quantized) {
                  quantized_bytes += linear.weight.bytes();
                  weights += linear.weight.rows() * linear.weight.cols();
                  replaced_bytes +=
                      static_cast<Index>(checkpoint_.tensors().info(name + ".weight").bytes.size());
                }
              });
    row.quantize_seconds = watch.seconds();
    row.bits_per_weight = 8.0 * static_cast<double>(quantized_bytes) / static_cast<double>(weights);
    row.weight_bytes = size_.bytes - replaced_bytes + quantized_bytes;
    return row;
  }

  /// Zeros are stored: what would be smaller with a mask is told in bits alone.
  ReportRow prune(const PruneRecipe& recipe, const engine::BlockRunner& runner,
                  engine::Model& pruned) {
    ReportRow row;
    row.method = recipe.text();
    row.format = std::string(to_string(weight_dtype()));
    const Stopwatch watch;
    PrunedLayers layers = pruned_layers(recipe, layers_);
    if (recipe.scores_gradients())
      score_by_gradients(recipe, model_, *calibration_, runtime_.execution(), layers);
    if (recipe.scope == PruneScope::global) {
      const auto weights = dense_weights();
      count_together(
          recipe, [&](const std::string& layer) { return *weights.at(layer); }, layers);
    }
    if (recipe.allocate == "owl") {
      const auto block_of = [&](Index i) { return model_.blocks[static_cast<std::size_t>(i)]; };
      allocate_by_outliers(recipe, block_of, runner, *model_.embedding, *calibration_, layers);
    }
    Steps steps;
    steps.push_back(std::make_unique<PruneStep>(recipe, layers, runner));
    Index zeros = 0, weights = 0;
    run_steps(steps, "pruning " + row.method, runner, nullptr, recipe.min_expert_tokens, pruned,
              [&](const BlockInWork& result) {
                for (const Layer& layer : result.layers) {
                  if (!layers.contains(layer.name)) continue;
                  const auto& weight = result.block.linears[layer.index].dense();
                  zeros += std::count(weight.data(), weight.data() + weight.size(), 0.0f);
                  weights += weight.size();
                }
              });
    row.quantize_seconds = watch.seconds();
    row.sparsity = static_cast<double>(zeros) / static_cast<double>(weights);
    row.bits_per_weight = 1.0 + (1.0 - *row.sparsity) * bits(weight_dtype());
    row.weight_bytes = size_.bytes;
    return row;
  }

  /// `smaller` becomes the model without a structure.
  ReportRow take_out(const StructureRecipe& recipe, const StructurePlan& plan,
                     const engine::BlockRunner& runner, engine::Model& smaller) {
    ReportRow row;
    row.method = recipe.text();
    row.format = std::string(to_string(weight_dtype()));
    const Stopwatch watch;
    if (recipe.structure == Structure::blocks) {
      const auto removed =
          removed_blocks(recipe.own_score(), plan.count.removed, checkpoint_,
                         calibration_ ? &*calibration_ : nullptr, runtime_.execution());
      std::vector<Index> kept;
      for (Index i = 0; i < model_.config.layers; ++i)
        if (std::find(removed.begin(), removed.end(), i) == removed.end()) {
          kept.push_back(i);
          smaller.blocks.push_back(model_.blocks[static_cast<std::size_t>(i)]);
        }
      smaller.config = keep_blocks(model_.config, kept);
    } else {
      Steps steps;
      steps.push_back(std::make_unique<StructureStep>(
          recipe, plan, runner,
          recipe.scores_gradients() ? channel_gradients(model_, *calibration_, runtime_.execution())
                                    : training::LayerMatrices{}));
      run_steps(steps, "pruning " + row.method, runner, nullptr, recipe.min_expert_tokens, smaller,
                [](const BlockInWork&) {});
      smaller.config = plan.now;
    }
    row.quantize_seconds = watch.seconds();
    const Index removed = weights_of(model_) - weights_of(smaller);
    row.sparsity = static_cast<double>(removed) / static_cast<double>(weights_of(model_));
    row.bits_per_weight = bits(weight_dtype());
    row.weight_bytes = size_.bytes - removed * bits(weight_dtype()) / 8;
    return row;
  }

  /// Of the layers of all blocks, biases included.
  static Index weights_of(const engine::Model& model) {
    Index count = 0;
    for (const engine::Block& block : model.blocks)
      for (const engine::Linear& linear : block.linears)
        count += linear.dense().size() + linear.bias().size();
    return count;
  }

  /// The float model's layers (out, in) by name.
  [[nodiscard]] std::map<std::string, const pare::Matrix<float>*> dense_weights() const {
    std::map<std::string, const pare::Matrix<float>*> weights;
    for (Index i = 0; i < model_.config.layers; ++i)
      for (const Layer& layer : layers_of_block(model_.config, i))
        weights[layer.name] =
            &model_.blocks[static_cast<std::size_t>(i)].linears[layer.index].dense();
    return weights;
  }

  /// Leads all blocks through steps, and shows each to `use` before `made` takes it.
  void run_steps(const Steps& steps, const std::string& title, const engine::BlockRunner& runner,
                 FloatCalibration* float_calibration, Index least_expert_tokens,
                 engine::Model& made, const std::function<void(const BlockInWork&)>& use) {
    BlockPass pass(steps, runner, calibration_ ? &*calibration_ : nullptr, *model_.embedding,
                   float_calibration, least_expert_tokens);
    Progress progress(title, model_.config.layers);
    for (Index i = 0; i < model_.config.layers; ++i) {
      progress.begin_block(i);
      auto result = pare::with_context(options_.model.model.string(), [&] {
        return pass.run(
            i, model_.blocks[static_cast<std::size_t>(i)],
            [&](const std::string& layer, double fraction) { progress.step(layer, fraction); });
      });
      use(result);
      progress.clear();
      for (const std::string& notice : result.notices)
        std::fprintf(stderr, "note: %s\n", notice.c_str());
      made.blocks.push_back(std::move(result.block));
    }
  }

  void finish_row(ReportRow& row, const engine::Model& model) {
    row.parameters = size_.parameters;
    const engine::Model* const beside = &model == &model_ ? nullptr : &model_;
    if (evaluator_) {
      const Quality quality = evaluator_->measure(model);
      row.bits_per_byte = quality.bits_per_byte(tokens_);
      row.perplexity = quality.perplexity();
      row.kl = quality.kl;
      row.top1 = quality.top1;
      if (options_.speed)
        row.speed = measure_speed(model, windows_->inputs(0, 1), runtime_, {}, beside);
    } else {
      const EncoderQuality quality = encoder_evaluator_->measure(model);
      row.accuracy = quality.accuracy;
      row.kl = quality.kl;
      row.top1 = quality.top1;
      row.cosine = quality.cosine;
      if (options_.speed)
        row.speed = measure_encoder_speed(model, speed_inputs(encoder_inputs_->inputs), runtime_,
                                          {}, beside);
    }
    std::fputs(table_.add(row).c_str(), stdout);
    flush_standard_output();
    rows_.push_back(row);
    // After every row: what is measured is not lost when a later row fails.
    write_report(options_.report, rows_, run_context(runtime_.threads(), kernels_));
  }

  /// Which kernel ran, for one token and for a window.
  void add_kernel(const std::string& format, const engine::Model& model) {
    const auto& linear = model.blocks[0].linears[0];
    for (const Index tokens :
         {Index{1}, windows_ ? windows_->length() : encoder_inputs_->inputs.length}) {
      const std::string line = format + ", " + std::to_string(tokens) +
                               " tokens: " + linear.describe(tokens, runtime_.execution());
      if (std::find(kernels_.begin(), kernels_.end(), line) == kernels_.end())
        kernels_.push_back(line);
    }
  }

  CompareOptions options_;
  std::vector<Recipe> recipes_;
  std::vector<PruneRecipe> prune_recipes_;
  std::vector<StructureRecipe> structure_recipes_;
  std::vector<StructurePlan> plans_;  // of those
  std::vector<LayerShape> layers_;
  Runtime runtime_;
  engine::Checkpoint checkpoint_;
  Tokens tokens_;
  std::optional<CalibrationWindows> calibration_;
  std::optional<EvaluationWindows> windows_;      // of a decoder
  std::optional<LabelledInputs> encoder_inputs_;  // of an encoder
  engine::Model model_;
  std::optional<Evaluator> evaluator_;
  std::optional<EncoderEvaluator> encoder_evaluator_;
  StoredSize size_;
  ComparisonTable table_;
  std::vector<ReportRow> rows_;
  std::vector<std::string> kernels_;
};

}  // namespace

void compare(const CompareOptions& options) { Comparison(options).run(); }

}  // namespace cli
