#include "cli/quantize_plain.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <regex>
#include <utility>

#include "cli/layer_expression.hpp"
#include "cli/model_copy.hpp"
#include "cli/model_fingerprint.hpp"
#include "cli/pipeline/model_writer.hpp"
#include "cli/progress.hpp"
#include "cli/recipe_options.hpp"
#include "cli/round_weight.hpp"
#include "pare/core/finite.hpp"
#include "pare/io/json.hpp"
#include "pare/io/mapped_file.hpp"
#include "pare/io/pare_checkpoint.hpp"
#include "pare/io/safetensors_writer.hpp"
#include "pare/version.hpp"

namespace cli {
namespace {

namespace fs = std::filesystem;

void refuse_what_runs_the_model(const QuantizeCommand& options, const PlainModel& model) {
  const fs::path config = options.model.model / "config.json";
  const std::string what = model.type().empty()
                               ? options.model.model.string() + " has no config.json"
                               : config.string() + ": the field \"model_type\" is \"" +
                                     model.type() + "\", a family that is not known here";
  const Recipe& recipe = options.recipe;
  if (recipe.needs_calibration())
    throw pare::ArgumentError(what + ": --method rtn without static activations works on it");
  if (recipe.save_as != SaveAs::pare)
    throw pare::ArgumentError(what + ": --save-as pare works on it");
  if (recipe.output_layer != OutputLayer::unchanged)
    throw pare::ArgumentError(what + ": which layer is its output --rule can say");
  if (!model.settings().is_null())
    throw pare::ArgumentError(options.model.model.string() + " is quantized already");
}

/// Layers whose weights are stored (in, out), swapped to (out, in).
std::vector<bool> swap_transposed(const std::string& pattern, std::vector<LayerShape>& layers) {
  std::vector<bool> transposed(layers.size());
  if (pattern.empty()) return transposed;
  const std::regex expression = compile_layer_expression("--transposed", pattern);
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (std::regex_match(layers[i].name, expression)) {
      transposed[i] = true;
      std::swap(layers[i].shape[0], layers[i].shape[1]);
    }
  if (std::find(transposed.begin(), transposed.end(), true) == transposed.end())
    throw pare::ArgumentError("--transposed: no layer's whole name matches \"" + pattern + "\"");
  return transposed;
}

/// What a block's layers have in common: the name up to its first number.
std::string block_of(const std::string& layer) {
  const std::size_t digit = layer.find_first_of("0123456789");
  return digit == std::string::npos ? layer : layer.substr(0, layer.find('.', digit));
}

class PlainQuantizer {
 public:
  PlainQuantizer(const QuantizeCommand& options, const PlainModel& model,
                 const pare::Execution& execution)
      : recipe_(options.recipe), model_(model), execution_(execution), layers_(model.layers()) {
    transposed_ = swap_transposed(recipe_.transposed, layers_);
    if (layers_.empty())
      throw pare::ArgumentError(options.model.model.string() +
                                " has no matrix NAME.weight in F32, F16 or BF16");
    formats_ = formats_of_layers(recipe_, layers_);
    require_shapes(recipe_, formats_, layers_);
    warn_of_short_rows(recipe_, layers_);
    std::map<std::string, std::size_t> shard_of;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (formats_.at(layers_[i].name).is_skip()) continue;
      const auto [place, is_new] = shard_of.emplace(block_of(layers_[i].name), shards_.size());
      if (is_new) shards_.emplace_back();
      shards_[place->second].push_back(i);
    }
  }

  void run(const OutputPath& out) {
    print_choice();
    // What is only copied may hold anything.
    const auto must_be_finite = [&](const std::string& tensor) { return is_taken(tensor); };
    nlohmann::json formats = nlohmann::json::object();
    for (const auto& [name, format] : formats_) formats[name] = format.text();
    OutputDirectory directory(out,
                              {{"options", manifest_of_step(recipe_)},
                               {"transposed", recipe_.transposed},
                               {"layers", formats},
                               {"model", model_fingerprint(model_.files(), must_be_finite)},
                               {"version", pare::version}},
                              std::ssize(shards_) + 1);
    Index done = 0;
    while (done < std::ssize(shards_) && directory.has_shard(done)) ++done;
    if (done > 0)
      std::fprintf(stderr, "resuming: %td of %td blocks are done\n", done, std::ssize(shards_));
    {
      Progress progress("quantizing", std::ssize(shards_), done);
      for (Index shard = done; shard < std::ssize(shards_); ++shard) {
        progress.begin_block(shard);
        write_shard(directory, shard, progress);
        model_.files().release_pages();
      }
    }
    finish(directory);
  }

 private:
  void print_choice() const {
    std::map<std::string, Index> taken, left;
    for (const LayerShape& layer : layers_)
      ++(formats_.at(layer.name).is_skip() ? left : taken)[block_free(layer.name)];
    const auto print = [](const char* what, const std::map<std::string, Index>& names) {
      for (const auto& [name, count] : names)
        std::printf("%s %s%s\n", what, name.c_str(),
                    count > 1 ? (" (" + std::to_string(count) + ")").c_str() : "");
    };
    print("quantized:", taken);
    print("left:     ", left);
    if (const auto others = std::ssize(model_.files().tensors.names()) - std::ssize(layers_);
        others > 0)
      std::printf("copied:    %td other tensor%s\n", others, others == 1 ? "" : "s");
  }

  /// A name with the numbers within it as '#', so that alike layers are one line.
  static std::string block_free(const std::string& name) {
    static const std::regex number("[0-9]+(?=\\.)");
    return std::regex_replace(name, number, "#");
  }

  /// True for the weights of layers that are quantized.
  [[nodiscard]] bool is_taken(const std::string& tensor) const {
    const std::size_t dot = std::min(tensor.rfind('.'), tensor.size());
    const auto layer = formats_.find(tensor.substr(0, dot));
    return tensor.substr(dot) == ".weight" && layer != formats_.end() && !layer->second.is_skip();
  }

  void write_shard(const OutputDirectory& directory, Index shard, Progress& progress) const {
    const auto& own = shards_[static_cast<std::size_t>(shard)];
    std::vector<pare::NamedTensor> tensors;
    nlohmann::json settings = nlohmann::json::object();
    for (std::size_t i = 0; i < own.size(); ++i) {
      const LayerShape& layer = layers_[own[i]];
      progress.step(layer.name, static_cast<double>(i) / static_cast<double>(own.size()));
      const LayerFormat& format = formats_.at(layer.name);
      pare::with_context(model_.files().directory.string() + ": " + layer.name, [&] {
        pare::Matrix<float> weight = model_.files().tensors.read_matrix(layer.name + ".weight");
        if (transposed_[own[i]]) weight = pare::Matrix<float>(weight.view().transposed());
        Index raised = 0;
        engine::QuantizedLinear linear{round_weight(recipe_, format, weight, execution_, raised)};
        if (format.activations() != Activations::float32)
          linear.activations = pare::ActivationOptions{};
        for (auto& tensor : pare::pare_tensors(layer.name, linear.weight))
          tensors.push_back(std::move(tensor));
        settings[layer.name] = engine::QuantizationSettings::layer_json(linear);
      });
    }
    pare::write_safetensors(directory.shard_path(shard), tensors,
                            {{"pare_layers", settings.dump()}});
  }

  void finish(OutputDirectory& directory) const {
    const Index last = std::ssize(shards_);
    if (!directory.has_shard(last)) {
      std::vector<std::string> names = model_.files().tensors.names();
      std::erase_if(names, [&](const std::string& tensor) { return is_taken(tensor); });
      copy_tensors(model_.files(), names, directory.shard_path(last));
    }
    nlohmann::json layers = nlohmann::json::object();
    for (Index shard = 0; shard < last; ++shard) {
      const auto reader = pare::SafetensorsReader::open(directory.shard_path(shard));
      layers.update(pare::parse_json(reader.metadata().at("pare_layers")));
    }
    pare::write_json(directory.file_path("quantize_config.json"),
                     pare::pare_config(std::move(layers)));
    const fs::path config = model_.files().directory / "config.json";
    if (std::error_code ignored; fs::exists(config, ignored))
      pare::write_file(directory.file_path("config.json"), pare::MappedFile(config).bytes());
    pare::write_json(directory.file_path(recipe_file_name), recipe_json({.quantize = recipe_}));
    copy_tokenizer(model_.files(), directory);
    directory.finish();
  }

  Recipe recipe_;
  const PlainModel& model_;
  pare::Execution execution_;
  std::vector<LayerShape> layers_;
  std::vector<bool> transposed_;  // as layers_
  LayerFormats formats_;
  std::vector<std::vector<std::size_t>> shards_;  // of layers_, by block
};

}  // namespace

void quantize_plain(const QuantizeCommand& options, const PlainModel& model, const OutputPath& out,
                    const pare::Execution& execution) {
  refuse_what_runs_the_model(options, model);
  require_text_files(model.files());
  const Stopwatch watch;
  PlainQuantizer(options, model, execution).run(out);
  std::printf("%s: rtn %s, %.1f s\n", options.out.string().c_str(), options.recipe.format.c_str(),
              watch.seconds());
}

}  // namespace cli
