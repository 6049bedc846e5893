#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cli/inputs.hpp"
#include "cli/model_copy.hpp"
#include "cli/model_fingerprint.hpp"
#include "cli/options.hpp"
#include "cli/output_directory.hpp"
#include "cli/pipeline/layer.hpp"
#include "cli/progress.hpp"
#include "engine/block_tensors.hpp"
#include "engine/checkpoint.hpp"
#include "pare/io/json.hpp"
#include "pare/io/packed_file.hpp"
#include "pare/version.hpp"

namespace cli {
namespace {

/// Without its zeros where a layout for them takes less memory. Those hold int8.
pare::AnyPackedMatrix pack_smallest(const pare::AnyQuantizedMatrix& weight,
                                    const pare::Execution& execution) {
  pare::AnyPackedMatrix smallest = pare::pack(weight, execution);
  if (weight.format() != pare::Int<8>::name) return smallest;
  const auto& q = weight.as<pare::Int<8>>();
  Index zeros = 0;
  for (Index i = 0; i < q.rows(); ++i)
    for (Index j = 0; j < q.cols(); ++j) zeros += q.code(i, j) == 0;
  constexpr double worth = 0.9;  // of the bytes: less is not worth slower arithmetic
  if (static_cast<double>(zeros) < (1.0 - worth) * static_cast<double>(q.rows() * q.cols()))
    return smallest;
  const double most = worth * static_cast<double>(smallest.bytes());
  pare::for_each_type(pare::AllSparseLayouts{}, [&]<class L>(pare::TypeTag<L>) {
    try {
      pare::AnyPackedMatrix sparse = pare::pack<L>(q, execution);
      if (static_cast<double>(sparse.bytes()) <= most && sparse.bytes() < smallest.bytes())
        smallest = std::move(sparse);
    } catch (const pare::ArgumentError&) {
      // The zeros are not where this layout wants them.
    }
  });
  return smallest;
}

/// Writes the packed form of a quantized model: a file of matrices for each block and one for the
/// output layer, if that is quantized, and the other tensors in one of safetensors.
class PackedModelWriter {
 public:
  PackedModelWriter(const OutputPath& out, const engine::Checkpoint& checkpoint)
      : checkpoint_(checkpoint),
        blocks_(checkpoint.config().layers),
        directory_(out, make_manifest(checkpoint), 1) {
    for (Index i = 0; i < blocks_; ++i)
      for (const Layer& layer : layers_of_block(checkpoint.config(), i))
        add_layer(layer.name, file_name(i));
    add_layer(checkpoint.config().names.output, output_layer_file);
  }

  [[nodiscard]] Index finished_blocks() const {
    Index done = 0;
    while (done < blocks_ && directory_.has_file(file_name(done))) ++done;
    return done;
  }

  void write_block(Index index, Progress& progress, const pare::Execution& execution) const {
    const engine::ModelConfig& config = checkpoint_.config();
    const auto& linears = config.block(index).linears;
    std::vector<std::string> names;
    for (const Layer& layer : layers_of_block(config, index)) names.push_back(layer.name);
    write_layers(names, file_name(index), execution, [&](std::size_t l) {
      progress.step(linears[l].name, static_cast<double>(l) / static_cast<double>(linears.size()));
    });
  }

  void finish(const pare::Execution& execution) {
    if (!directory_.has_file(output_layer_file))
      write_layers({checkpoint_.config().names.output}, output_layer_file, execution,
                   [](std::size_t) {});
    if (!directory_.has_shard(0))
      copy_tensors(checkpoint_.files(), other_tensors(), directory_.shard_path(0));
    nlohmann::json config = checkpoint_.json();
    config["quantization_config"] = engine::PackedLayers::settings(layers_);
    pare::write_json(directory_.file_path("config.json"), config);
    copy_tokenizer(checkpoint_.files(), directory_);
    directory_.finish();
  }

  /// "14 layers without their zeros (2:4)", a line each; nothing where all are dense.
  void print_layouts() const {
    for (const auto& [layout, layers] : layouts_)
      if (layout != "dense")
        std::printf("%td layer%s without zeros, in layout %s\n", layers, layers == 1 ? "" : "s",
                    layout.c_str());
    if (const auto dense = layouts_.find("dense"); dense != layouts_.end() && layouts_.size() > 1)
      std::printf("%td dense, whose zeros fit no layout\n", dense->second);
  }

 private:
  /// Everything the bytes of the result depend on: packed matrices are the same on every machine.
  [[nodiscard]] static nlohmann::json make_manifest(const engine::Checkpoint& checkpoint) {
    const auto must_be_finite = [&](const std::string& name) {
      return is_outer_tensor(checkpoint.config(), name) ||
             engine::is_block_tensor(checkpoint.config(), name);
    };
    return {{"made_by", "pack"},
            {"model", model_fingerprint(checkpoint.files(), must_be_finite)},
            {"version", pare::version}};
  }

  void add_layer(const std::string& name, const std::string& file) {
    if (checkpoint_.has_codes(name))
      layers_[name] = {.file = file, .record = {}, .activations = checkpoint_.activations(name)};
  }

  /// Those that are quantized; no file without any. Calls `begin(i)` before layer i.
  template <class Begin>
  void write_layers(const std::vector<std::string>& names, const std::string& file,
                    const pare::Execution& execution, Begin&& begin) const {
    std::vector<std::pair<std::string, pare::AnyPackedMatrix>> matrices;
    for (std::size_t i = 0; i < names.size(); ++i) {
      begin(i);
      if (const auto linear = checkpoint_.quantized_linear(names[i]))
        pare::with_context(checkpoint_.directory().string() + ": " + names[i], [&] {
          matrices.emplace_back(names[i], pack_smallest(linear->weight, execution));
        });
    }
    for (const auto& [name, matrix] : matrices) ++layouts_[std::string(matrix.layout())];
    std::vector<pare::PackedEntry> entries;
    for (const auto& [name, matrix] : matrices) entries.emplace_back(name, matrix);
    if (!entries.empty()) pare::save_packed(directory_.file_path(file), entries);
  }

  mutable std::map<std::string, Index> layouts_;  // of the layers that this run packed

  static constexpr const char* output_layer_file = "output-layer.pack";

  [[nodiscard]] std::string file_name(Index block) const {
    char name[64];
    std::snprintf(name, sizeof name, "block-%05td-of-%05td.pack", block + 1, blocks_);
    return name;
  }

  /// All but the parts of quantized layers; biases are not among those.
  [[nodiscard]] std::vector<std::string> other_tensors() const {
    std::vector<std::string> names = checkpoint_.tensors().names();
    std::erase_if(names, [&](const std::string& name) {
      const std::size_t end = std::min(name.rfind('.'), name.size());
      return layers_.contains(name.substr(0, end)) && name.substr(end) != ".bias";
    });
    return names;
  }

  const engine::Checkpoint& checkpoint_;
  Index blocks_;
  OutputDirectory directory_;
  engine::PackedLayers::Layers layers_;
};

}  // namespace

void pack(const PackCommand& options) {
  Runtime runtime = options.model.runtime();
  const OutputPath out(options.out, options.force, input_paths(options.model));
  const engine::Checkpoint checkpoint(options.model.model);
  refuse_masks(checkpoint);
  if (checkpoint.packed())
    throw pare::ArgumentError(options.model.model.string() + " is packed already");
  if (checkpoint.quantization().empty())
    throw pare::ArgumentError(options.model.model.string() +
                              " is not quantized: pack what pare quantize makes of it");

  require_text_files(checkpoint.files());
  out.warn_if_no_room(
      estimated_bytes(checkpoint.files(), [](const std::string&) { return std::nullopt; }));
  PackedModelWriter writer(out, checkpoint);
  const Index blocks = checkpoint.config().layers, done = writer.finished_blocks();
  if (done > 0) std::fprintf(stderr, "resuming: %td of %td blocks are done\n", done, blocks);
  const Stopwatch watch;
  {
    Progress progress("packing", blocks, done);
    for (Index i = done; i < blocks; ++i) {
      progress.begin_block(i);
      writer.write_block(i, progress, runtime.execution());
      checkpoint.release_pages();
    }
  }
  writer.finish(runtime.execution());
  std::printf("%s: %td blocks packed, %.1f s\n", options.out.string().c_str(), blocks,
              watch.seconds());
  writer.print_layouts();
}

}  // namespace cli
