#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "cli/block_quantizer.hpp"
#include "cli/content_hash.hpp"
#include "cli/inputs.hpp"
#include "cli/model_copy.hpp"
#include "cli/model_fingerprint.hpp"
#include "cli/options.hpp"
#include "cli/output_directory.hpp"
#include "cli/progress.hpp"
#include "pare/io/awq_checkpoint.hpp"
#include "pare/io/gptq_checkpoint.hpp"
#include "pare/io/json.hpp"
#include "pare/io/pare_checkpoint.hpp"
#include "pare/io/safetensors_writer.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/quantization/quantize.hpp"
#include "pare/version.hpp"

namespace cli {
namespace {

/// Everything the bytes of the result depend on; not the number of threads.
nlohmann::json make_manifest(const QuantizeCommand& options, const engine::Checkpoint& checkpoint,
                             const std::optional<CalibrationWindows>& windows) {
  const Recipe& r = options.recipe;
  nlohmann::json kernels = nlohmann::json::array();
  for (const auto name : pare::kernels::supported_kernels()) kernels.push_back(to_string(name));
  // Where nothing is calibrated layers are checked as they are read: finished blocks stay.
  const bool whole = r.needs_calibration();
  const auto must_be_finite = [&](const std::string& name) {
    return is_outer_tensor(name) || (whole && is_block_tensor(checkpoint.config(), name));
  };
  ContentHash calibration;
  if (windows) {
    calibration.add({reinterpret_cast<const char*>(windows->ids.data()), windows->ids.size() * 4});
    calibration.add(std::to_string(windows->length));
  }
  return {{"options",
           {{"method", name_of(method_names, r.method)},
            {"format", r.format},
            {"group_size", r.weight_group_size()},
            {"act_order", r.act_order},
            {"static_groups", r.static_groups},
            {"damping", r.damping},
            {"alpha", r.alpha},
            {"mse_clip", r.range == pare::RangeMethod::mse_clip},
            {"scale_type", r.scale_type ? std::string(to_string(*r.scale_type)) : "default"},
            {"observer", name_of(observer_names, r.observer)},
            {"activation_zero_point", r.activation_zero_point},
            {"save_as", name_of(save_as_names, r.save_as)},
            {"output_layer", name_of(output_layer_names, r.output_layer)}}},
          {"model", model_fingerprint(checkpoint, must_be_finite)},
          {"calibration", calibration.hex()},
          {"kernels", kernels},
          {"version", pare::version}};
}

/// Bits per element of a tensor that is quantized: its code and its share of a scale and a zero
/// point.
std::optional<double> stored_bits(const Recipe& recipe, const engine::ModelConfig& config,
                                  const std::string& name) {
  if (!is_block_tensor(config, name) || !name.ends_with("_proj.weight")) return std::nullopt;
  const int code_bits = pare::with_format(recipe.weight_format(),
                                          []<class F>(pare::TypeTag<F>) { return F::code_bits; });
  const auto group = static_cast<double>(std::max<Index>(recipe.weight_group_size(), 0));
  return code_bits + (group > 0.0 ? 24.0 / group : 0.0);
}

pare::NamedTensor to_stored(const std::string& name, const pare::Vector<float>& values,
                            pare::DType dtype) {
  pare::NamedTensor tensor{name, dtype, {values.size()}, {}};
  const auto store = [&]<class T>(pare::TypeTag<T>) {
    const pare::Vector<T> stored(values.view());
    const auto bytes =
        std::as_bytes(std::span(stored.data(), static_cast<std::size_t>(stored.size())));
    tensor.data.assign(bytes.begin(), bytes.end());
  };
  if (dtype == pare::DType::F16) {
    store(pare::TypeTag<pare::Float16>{});
  } else if (dtype == pare::DType::BF16) {
    store(pare::TypeTag<pare::BFloat16>{});
  } else {
    tensor.dtype = pare::DType::F32;
    store(pare::TypeTag<float>{});
  }
  return tensor;
}

/// Writes a model's blocks as they are quantized: a shard each, one for the output layer, if that
/// is quantized, and one for everything else.
class ModelWriter {
 public:
  ModelWriter(const QuantizeCommand& options, const OutputPath& out,
              const engine::Checkpoint& checkpoint, const nlohmann::json& manifest)
      : recipe_(options.recipe),
        checkpoint_(checkpoint),
        blocks_(checkpoint.config().layers),
        quantized_shards_(blocks_ + (has_output_layer() ? 1 : 0)),
        directory_(out, manifest, quantized_shards_ + 1) {}

  [[nodiscard]] Index finished_blocks() const {
    Index done = 0;
    while (done < blocks_ && directory_.has_shard(done)) ++done;
    return done;
  }

  void write_block(Index index, const QuantizedBlock& quantized) {
    std::vector<pare::NamedTensor> tensors;
    nlohmann::json layers = nlohmann::json::object();
    const auto add_vector = [&](const std::string& name, const pare::Vector<float>& values) {
      const pare::DType dtype = checkpoint_.tensors().info(name).dtype;
      const bool is_converted = recipe_.save_as == SaveAs::awq && dtype == pare::DType::BF16;
      tensors.push_back(to_stored(name, values, is_converted ? pare::DType::F16 : dtype));
      if (is_converted)
        for (Index i = 0; i < values.size(); ++i)
          if (std::fabs(values[i]) > 65504.0f)
            throw pare::NumericError(name +
                                     ": the tensor holds a number beyond F16, which awq files "
                                     "need; use --save-as pare");
    };
    const std::string prefix = engine::block_prefix(index);
    add_vector(prefix + "input_layernorm.weight", quantized.block.input_norm);
    add_vector(prefix + "post_attention_layernorm.weight", quantized.block.post_attention_norm);
    for (std::size_t i = 0; i < quantized.linears.size(); ++i) {
      const auto id = static_cast<engine::LinearId>(i);
      const std::string name = engine::linear_name(index, id);
      if (const auto& bias = quantized.block[id].bias(); !bias.empty())
        add_vector(name + ".bias", bias);
      for (auto& tensor : layer_tensors(name, quantized.linears[i].weight))
        tensors.push_back(std::move(tensor));
      layers[name] = engine::QuantizationSettings::layer_json(quantized.linears[i]);
    }
    write_shard(index, tensors, layers);
  }

  /// A block written earlier, packed and ready to run.
  [[nodiscard]] engine::Block read_block(Index index) const {
    auto reader = pare::SafetensorsReader::open(directory_.shard_path(index));
    const engine::QuantizationSettings settings = settings_of(reader);
    engine::Block block;
    block.input_norm = reader.read_vector(engine::block_prefix(index) + "input_layernorm.weight");
    block.post_attention_norm =
        reader.read_vector(engine::block_prefix(index) + "post_attention_layernorm.weight");
    for (std::size_t i = 0; i < engine::linear_names.size(); ++i) {
      const std::string name = engine::linear_name(index, static_cast<engine::LinearId>(i));
      const auto linear = settings.read(reader, name);
      block.linears[i] = engine::Linear(linear.weight, linear.activations);
      if (reader.contains(name + ".bias"))
        block.linears[i].set_bias(reader.read_vector(name + ".bias"));
    }
    return block;
  }

  void finish() {
    if (has_output_layer() && !directory_.has_shard(blocks_)) write_output_layer();
    if (!directory_.has_shard(quantized_shards_))
      copy_tensors(
          checkpoint_, other_tensors(), directory_.shard_path(quantized_shards_),
          recipe_.save_as == SaveAs::awq ? CopiedType::f16_for_bf16 : CopiedType::unchanged);
    write_settings();
    copy_tokenizer(checkpoint_, directory_);
    directory_.finish();
  }

 private:
  [[nodiscard]] bool has_output_layer() const {
    return recipe_.output_layer != OutputLayer::unchanged;
  }

  void write_shard(Index shard, const std::vector<pare::NamedTensor>& tensors,
                   const nlohmann::json& layers) const {
    pare::SafetensorsMetadata metadata;
    if (recipe_.save_as == SaveAs::pare) metadata["pare_layers"] = layers.dump();
    pare::write_safetensors(directory_.shard_path(shard), tensors, metadata);
  }

  void write_output_layer() const {
    const std::string name(engine::output_layer_name);
    const engine::Linear head = checkpoint_.head().value();
    engine::QuantizedLinear linear{pare::quantize<pare::Int<8>>(head.dense())};
    if (recipe_.activations() != Activations::float32)
      linear.activations = pare::ActivationOptions{};
    write_shard(blocks_, layer_tensors(name, linear.weight),
                {{name, engine::QuantizationSettings::layer_json(linear)}});
  }

  [[nodiscard]] std::vector<pare::NamedTensor> layer_tensors(
      const std::string& name, const pare::AnyQuantizedMatrix& weight) const {
    if (recipe_.save_as != SaveAs::pare && weight.scale_type() != pare::ScaleType::f16)
      throw pare::NumericError(name + ": a scale over- or underflows F16, which " +
                               std::string(name_of(save_as_names, recipe_.save_as)) +
                               " files need; use --save-as pare");
    switch (recipe_.save_as) {
      case SaveAs::gptq:
        return pare::gptq_tensors(name, weight);
      case SaveAs::awq:
        return pare::awq_tensors(name, weight);
      case SaveAs::pare:
        break;
    }
    return pare::pare_tensors(name, weight);
  }

  [[nodiscard]] pare::GptqConfig gptq_config() const {
    return pare::with_format(recipe_.weight_format(), [&]<class F>(pare::TypeTag<F>) {
      pare::GptqConfig config{.bits = F::code_bits, .group_size = recipe_.weight_group_size()};
      config.sym = !F::has_zero_point;
      if constexpr (pare::GptqFormat<F>) config.version = pare::default_gptq_version<F>;
      config.desc_act = recipe_.act_order && !recipe_.static_groups;
      config.static_groups = recipe_.static_groups;
      config.true_sequential = false;
      config.damp_percent = recipe_.damping;
      return config;
    });
  }

  [[nodiscard]] engine::QuantizationSettings settings_of(
      const pare::SafetensorsReader& reader) const {
    if (recipe_.save_as == SaveAs::gptq) return gptq_config();
    if (recipe_.save_as == SaveAs::awq)
      return pare::AwqConfig{.group_size = recipe_.weight_group_size()};
    return engine::QuantizationSettings(pare::parse_json(reader.metadata().at("pare_layers")));
  }

  /// Embeddings, final norm, the output layer unless it is quantized, and whatever else.
  [[nodiscard]] std::vector<std::string> other_tensors() const {
    std::vector<std::string> names = checkpoint_.tensors().names();
    const std::string output_layer = std::string(engine::output_layer_name) + ".weight";
    std::erase_if(names, [&](const std::string& name) {
      return is_block_tensor(checkpoint_.config(), name) ||
             (has_output_layer() && name == output_layer);
    });
    return names;
  }

  /// Readers take the type of activations from config.json, and it must suit F16 scales.
  void set_float_type(nlohmann::json& config) const {
    for (const char* key : {"torch_dtype", "dtype"}) {
      if (!config.contains(key) || config[key] != "bfloat16") continue;
      if (recipe_.save_as == SaveAs::awq) {
        config[key] = "float16";
        std::fprintf(
            stderr,
            "note: %s is float16 now and BF16 tensors are F16: readers of awq files know no "
            "bfloat16\n",
            key);
      } else if (recipe_.save_as == SaveAs::gptq) {
        std::fprintf(stderr,
                     "note: %s stays bfloat16 beside F16 scales; older readers of gptq files need "
                     "dtype float16\n",
                     key);
      }
    }
  }

  void write_settings() {
    nlohmann::json config = checkpoint_.json();
    set_float_type(config);
    nlohmann::json& settings = config["quantization_config"];
    if (recipe_.save_as == SaveAs::gptq) {
      settings = gptq_config().to_json();
      pare::write_json(directory_.file_path("quantize_config.json"), settings);
    } else if (recipe_.save_as == SaveAs::awq) {
      settings = pare::AwqConfig{.group_size = recipe_.weight_group_size()}.to_json();
    } else {
      nlohmann::json layers = nlohmann::json::object();
      for (Index i = 0; i < quantized_shards_; ++i)
        layers.update(pare::parse_json(
            pare::SafetensorsReader::open(directory_.shard_path(i)).metadata().at("pare_layers")));
      settings = pare::pare_config(std::move(layers));
    }
    pare::write_json(directory_.file_path("config.json"), config);
  }

  Recipe recipe_;
  const engine::Checkpoint& checkpoint_;
  Index blocks_, quantized_shards_;
  OutputDirectory directory_;
};

}  // namespace

void quantize(const QuantizeCommand& options) {
  Recipe recipe = options.recipe;
  recipe.validate();
  recipe.refuse_unused_options();
  Runtime runtime = options.model.runtime();
  const OutputPath out(options.out, options.force, input_paths(options.model, options.calibration));
  const engine::Checkpoint checkpoint(options.model.model);
  if (const std::string by = checkpoint.quantization(); !by.empty())
    throw pare::ArgumentError(options.model.model.string() + " is quantized already (by " + by +
                              ")");
  require_shapes(recipe, checkpoint.config());
  if (recipe.output_layer != OutputLayer::unchanged && checkpoint.config().tied_embeddings)
    throw pare::ArgumentError("--output-layer int8 has nothing to quantize: the output layer of " +
                              options.model.model.string() +
                              " is its embedding, which stays as it is");
  const Index length = window_length(options.model, checkpoint.config());
  std::optional<CalibrationWindows> windows;
  if (recipe.needs_calibration())
    windows = calibration_windows(options.calibration, checkpoint, length);

  out.warn_if_no_room(estimated_bytes(checkpoint, [&](const std::string& name) {
    return stored_bits(recipe, checkpoint.config(), name);
  }));
  ModelWriter writer(options, out, checkpoint, make_manifest(options, checkpoint, windows));
  const Index blocks = checkpoint.config().layers, done = writer.finished_blocks();
  if (done > 0) std::fprintf(stderr, "resuming: %td of %td blocks are done\n", done, blocks);

  const engine::BlockRunner runner(checkpoint.config(), runtime.execution());
  const auto embedding = windows ? checkpoint.embedding() : pare::Matrix<float>();
  checkpoint.release_pages();
  std::optional<FloatCalibration> float_calibration;
  if (windows) float_calibration.emplace(runner, embedding, *windows);
  BlockQuantizer quantizer(
      recipe, runner, windows ? &*windows : nullptr, embedding,
      float_calibration ? &*float_calibration : nullptr,
      [&](const std::string& tensor) { return checkpoint.tensors().info(tensor).dtype; });

  const Stopwatch watch;
  Index scales_raised = 0;
  {
    Progress progress("quantizing", blocks, done);
    for (Index i = 0; i < blocks; ++i) {
      if (i < done) {
        quantizer.skip(
            i, [&] { return checkpoint.block(i); }, [&] { return writer.read_block(i); });
      } else {
        progress.begin_block(i);
        auto block = checkpoint.block(i);
        const auto quantized = pare::with_context(options.model.model.string(), [&] {
          return quantizer.quantize(
              i, std::move(block),
              [&](const std::string& layer, double fraction) { progress.step(layer, fraction); });
        });
        progress.clear();
        for (const std::string& notice : quantized.notices)
          std::fprintf(stderr, "note: %s\n", notice.c_str());
        scales_raised += quantized.scales_raised;
        writer.write_block(i, quantized);
      }
      checkpoint.release_pages();
    }
  }
  writer.finish();
  std::string raised;
  if (scales_raised > 0)
    raised = ", " + std::to_string(scales_raised) + (scales_raised == 1 ? " scale" : " scales") +
             " raised to the smallest F16 number";
  std::printf("%s: %s %s, %.1f s%s\n", options.out.string().c_str(),
              std::string(name_of(method_names, recipe.method)).c_str(), recipe.format.c_str(),
              watch.seconds(), raised.c_str());
}

}  // namespace cli
