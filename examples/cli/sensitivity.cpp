#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/comma_list.hpp"
#include "cli/encoder_evaluation.hpp"
#include "cli/evaluation.hpp"
#include "cli/formatted.hpp"
#include "cli/gradient_scores.hpp"
#include "cli/inputs.hpp"
#include "cli/options.hpp"
#include "cli/pipeline/block_pass.hpp"
#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "cli/sensitivity_plot.hpp"
#include "cli/sensitivity_runs.hpp"
#include "cli/sensitivity_step.hpp"
#include "cli/sensitivity_table.hpp"
#include "cli/standard_output.hpp"
#include "pare/io/atomic_file.hpp"

namespace cli {
namespace {

/// Tokens that are evaluated unless --eval-windows says otherwise: every layer runs on them.
constexpr Index default_tokens = 16384;

std::vector<double> parse_sparsities(const std::string& list) {
  std::vector<double> sparsities;
  for (const std::string& item : comma_list(list)) {
    double value = 0.0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), value);
    if (error != std::errc{} || end != item.data() + item.size() || item.empty())
      throw pare::ArgumentError("--sparsity " + list + ": \"" + item +
                                "\" is no share; it is a list like 0.3,0.5,0.7");
    sparsities.push_back(value);
  }
  return sparsities;
}

PruneRecipe recipe_of(const SensitivityCommand& options) {
  PruneRecipe recipe;
  set_method(recipe, options.method);
  recipe.pattern = options.pattern;
  recipe.layers = options.layers;
  return recipe;
}

/// What a layer loses in each column: N:M says it itself.
std::vector<PrunedLayer> shares_of(const SensitivityCommand& options, PruneRecipe recipe) {
  pare::with_context("--method " + options.method, [&] { recipe.validate(); });
  std::vector<PrunedLayer> shares;
  if (recipe.selection().of != 0) {
    if (!options.sparsity.empty())
      throw pare::ArgumentError("--sparsity has no effect here: --pattern " + options.pattern +
                                " says the share itself");
    shares.emplace_back();
    return shares;
  }
  for (const double sparsity :
       parse_sparsities(options.sparsity.empty() ? "0.3,0.5,0.7,0.9" : options.sparsity)) {
    recipe.sparsity = sparsity;
    recipe.validate();
    shares.push_back({.sparsity = sparsity});
  }
  return shares;
}

class SensitivityRun {
 public:
  explicit SensitivityRun(const SensitivityCommand& options)
      : options_(options),
        recipe_(recipe_of(options)),
        shares_(shares_of(options, recipe_)),
        runtime_(options.model.runtime()),
        checkpoint_(options.model.model) {
    const InputPaths read = input_paths(options.model, options.calibration, options.text);
    require_report_path("--report", options.report, {".json", ".csv"}, read);
    require_report_path("--plot", options.plot, {".svg"}, read);
    require_float(checkpoint_, ": prune before quantizing");
    if (options.eval_windows.value_or(0) < 0)
      throw pare::ArgumentError("--eval-windows " + std::to_string(*options.eval_windows) +
                                " is negative");
    const engine::ModelConfig& config = checkpoint_.config();
    shapes_ = layers_of_model(config);
    layers_ = pruned_layers(recipe_, shapes_);
    checkpoint_.require_forward();
    const Index length = window_length(options.model, config);
    if (config.encoder)
      read_encoder_inputs();
    else
      read_text(length);
    if (recipe_.needs_calibration())
      calibration_.emplace(calibration_windows(options.calibration, checkpoint_, length));
    model_ = checkpoint_.load(execution_);
    if (config.encoder && model_.heads.empty())
      throw pare::ArgumentError(options.model.model.string() +
                                " has no head: there are no answers whose KL could be measured");
    describe();
  }

  void run() {
    const Stopwatch watch;
    const engine::ModelConfig& config = model_.config;
    const engine::BlockRunner runner(config, execution_);
    find_layers();
    if (recipe_.scores_gradients())
      score_by_gradients(recipe_, model_, *calibration_, execution_, layers_);
    std::printf("%s\n", subtitle().c_str());
    print_time();
    runs_.emplace(model_, inputs_, execution_);
    if (encoder_inputs_)
      encoder_evaluator_.emplace(*encoder_inputs_, &model_, execution_);
    else
      evaluator_.emplace(
          *windows_, [this](Index first, Index count) { return original(first, count); },
          config.vocab_size, execution_);
    result_.float_model = measure({}, [](double) {});
    std::fputs(sensitivity_headings(result_, names_).c_str(), stdout);

    Steps steps;
    steps.push_back(std::make_unique<SensitivityStep>(
        recipe_, layers_, shares_, execution_,
        [this](const std::string& layer, std::size_t share, const pare::Matrix<float>& weight) {
          show(layer, share, weight);
        }));
    BlockPass pass(steps, runner, calibration_ ? &*calibration_ : nullptr, *model_.embedding,
                   nullptr, recipe_.min_expert_tokens);
    progress_.emplace("sensitivity", costs_, "layer");
    for (Index i = 0; i < config.layers; ++i) {
      const engine::Block& block = model_.blocks[static_cast<std::size_t>(i)];
      changed_ = block;
      const BlockInWork work = pare::with_context(options_.model.model.string(), [&] {
        return pass.run(i, block, [](const std::string&, double) {});
      });
      progress_->clear();
      for (const std::string& notice : work.notices)
        std::fprintf(stderr, "note: %s\n", notice.c_str());
      runs_->advance();
    }
    std::fputs(sensitivity_conclusion(result_).c_str(), stdout);
    std::printf("%.1f s%s%s\n", watch.seconds(),
                options_.plot.empty() ? "" : (", plot in " + options_.plot.string()).c_str(),
                options_.report.empty() ? "" : (", rows in " + options_.report.string()).c_str());
  }

 private:
  struct Place {
    Index block = 0;
    std::size_t linear = 0;
  };

  /// How many of `count` windows of `length` tokens are evaluated.
  [[nodiscard]] Index evaluated(Index count, Index length) const {
    const Index wanted =
        options_.eval_windows.value_or(std::max<Index>(1, default_tokens / length));
    return wanted == 0 ? count : std::min(count, wanted);
  }

  void read_text(Index length) {
    if (!options_.text.inputs.empty())
      throw pare::ArgumentError("--inputs is of encoders; decoders read --text or --tokens");
    tokens_ = evaluation_tokens(options_.text, checkpoint_);
    const EvaluationWindows all(tokens_, length);
    available_ = all.count();
    windows_.emplace(tokens_, length, evaluated(all.count(), all.length()));
    const auto ids = windows_->inputs(0, windows_->count());
    inputs_ = {.length = windows_->length(), .ids = {ids.begin(), ids.end()}};
    result_.unit = checkpoint_.config().is_byte_level() ? "byte" : "token";
  }

  void read_encoder_inputs() {
    LabelledInputs all = evaluation_inputs(options_.text, checkpoint_);
    available_ = all.inputs.count();
    const Index count = evaluated(available_, all.inputs.length);
    if (std::ssize(all.labels) == available_) all.labels.resize(static_cast<std::size_t>(count));
    inputs_ = all.inputs.slice(0, count);
    encoder_inputs_ = {inputs_, std::move(all.labels)};
    result_.unit = "answer";
  }

  void describe() {
    result_.method = options_.method;
    if (recipe_.pattern != "unstructured") result_.method += " in " + recipe_.pattern;
    for (const PrunedLayer& share : shares_)
      result_.shares.push_back(share.sparsity ? formatted("%g %%", 100.0 * *share.sparsity)
                                              : recipe_.pattern);
  }

  [[nodiscard]] std::string subtitle() const {
    return std::to_string(layers_.size()) + (layers_.size() == 1 ? " layer" : " layers") +
           ", KL to the float model on the first " + std::to_string(inputs_.count()) + " of " +
           std::to_string(available_) + (encoder_inputs_ ? " inputs" : " windows") + " of " +
           std::to_string(inputs_.length) + " tokens";
  }

  /// Where the layers are; costs are numbers of blocks that are run for them.
  void find_layers() {
    for (Index b = 0; b < model_.config.layers; ++b)
      for (const Layer& layer : layers_of_block(model_.config, b)) {
        if (!layers_.contains(layer.name)) continue;
        places_[layer.name] = {b, layer.index};
        names_.push_back(layer.name);
        costs_.push_back(static_cast<double>(model_.config.layers - b) + 0.5);
      }
  }

  void print_time() {
    std::vector<pare::Shape<2>> updated;
    for (const LayerShape& layer : shapes_)
      if (layers_.contains(layer.name)) updated.insert(updated.end(), shares_.size(), layer.shape);
    print_time_of_update(recipe_, updated, execution_);
  }

  [[nodiscard]] pare::Matrix<float> original(Index first, Index count) const {
    return engine::Decoder(model_, execution_).finish(runs_->original(first, count));
  }

  /// What becomes of the model with `changed` in its place; without it, of the float model.
  [[nodiscard]] Damage measure(const engine::Block* changed,
                               const std::function<void(double)>& listener) {
    const auto hidden = [&](Index first, Index count) {
      return changed ? runs_->with(*changed, first, count) : runs_->original(first, count);
    };
    if (encoder_evaluator_) {
      const engine::Encoder encoder(model_, execution_);
      const EncoderQuality quality = encoder_evaluator_->measure(
          [&](Index first, Index count) {
            return encoder.finish(hidden(first, count), inputs_.slice(first, count));
          },
          model_, listener);
      return {.kl = *quality.kl, .top1 = quality.top1, .accuracy = quality.accuracy};
    }
    const engine::Decoder decoder(model_, execution_);
    const Quality quality = evaluator_->measure(
        [&](Index first, Index count) { return decoder.finish(hidden(first, count)); },
        model_.config.vocab_size, listener);
    return {.kl = *quality.kl,
            .top1 = quality.top1,
            .bits_per_byte = quality.bits_per_byte(tokens_),
            .perplexity = quality.perplexity()};
  }

  void show(const std::string& layer, std::size_t share, const pare::Matrix<float>& weight) {
    const Place place = places_.at(layer);
    if (share == 0) {
      const std::string prefix = model_.config.block_prefix(place.block);
      progress_->begin_block(std::ssize(result_.layers));
      result_.layers.push_back({.layer = layer,
                                .kind = layer.substr(prefix.size()),
                                .block = place.block,
                                .weights = weight.size()});
    }
    LayerSensitivity& own = result_.layers.back();
    pare::Matrix<float>& dense = changed_.linears[place.linear].dense();
    const pare::Matrix<float> before = std::exchange(dense, weight);
    own.damage.push_back(measure(&changed_, [&](double fraction) {
      progress_->step(
          layer, (static_cast<double>(share) + fraction) / static_cast<double>(shares_.size()));
    }));
    own.damage.back().sparsity = static_cast<double>(std::count(dense.begin(), dense.end(), 0.0f)) /
                                 static_cast<double>(dense.size());
    dense = before;
    if (own.damage.size() < shares_.size()) return;
    progress_->clear();
    std::fputs(sensitivity_line(own, names_).c_str(), stdout);
    flush_standard_output();
    // After every layer: what is measured is not lost when a later one fails.
    write();
  }

  void write() const {
    if (!options_.plot.empty())
      pare::write_file(options_.plot, sensitivity_plot(result_, subtitle()));
    nlohmann::json more{{"context", run_context(runtime_.threads(), {})},
                        {"windows", inputs_.count()},
                        {"window", inputs_.length},
                        {"unit", "nats per " + result_.unit}};
    write_rows(options_.report, rows_of(result_), std::move(more));
  }

  SensitivityCommand options_;
  PruneRecipe recipe_;
  std::vector<PrunedLayer> shares_;
  Runtime runtime_;
  pare::Execution execution_ = runtime_.execution();
  engine::Checkpoint checkpoint_;
  std::vector<LayerShape> shapes_;
  PrunedLayers layers_;
  Tokens tokens_;
  Index available_ = 0;                           // windows of the text, or inputs
  engine::ModelInputs inputs_;                    // those that are evaluated
  std::optional<EvaluationWindows> windows_;      // of a decoder
  std::optional<LabelledInputs> encoder_inputs_;  // of an encoder
  std::optional<CalibrationWindows> calibration_;
  engine::Model model_;
  std::map<std::string, Place, std::less<>> places_;
  std::vector<std::string> names_;
  std::vector<double> costs_;
  std::optional<SensitivityRuns> runs_;
  std::optional<Evaluator> evaluator_;
  std::optional<EncoderEvaluator> encoder_evaluator_;
  engine::Block changed_;  // a copy of the block in work, with one layer pruned
  std::optional<Progress> progress_;
  Sensitivity result_;
};

}  // namespace

void sensitivity(const SensitivityCommand& options) { SensitivityRun(options).run(); }

}  // namespace cli
