#include "engine/packed_layers.hpp"

#include <set>
#include <utility>

#include "engine/activation_settings.hpp"
#include "pare/io/file_name.hpp"
#include "pare/io/json.hpp"
#include "pare/io/packed_file.hpp"
#include "pare/io/pare_checkpoint.hpp"

namespace engine {
namespace {

using pare::detail::in_quotes;

/// Layers with file and activations, as the settings name them.
PackedLayers::Layers parse(const nlohmann::json& settings) {
  PackedLayers::Layers layers;
  for (const auto& [name, json] : pare::pare_layers(settings).items())
    pare::with_context("layer " + in_quotes(name), [&, &name = name, &json = json] {
      const auto file = pare::field_as<std::string>(json, {"file"});
      if (!file) throw pare::FormatError("the field \"file\" is missing");
      if (!pare::is_file_name(*file))
        throw pare::FormatError(in_quotes(*file) + " is not the name of a file");
      layers[name] = {*file, {}, read_activations(json)};
    });
  return layers;
}

}  // namespace

PackedLayers::PackedLayers(std::filesystem::path directory, const nlohmann::json& settings)
    : directory_(std::move(directory)),
      layers_(pare::with_context((directory_ / "config.json").string(),
                                 [&] { return parse(settings); })) {
  std::set<std::string> files;
  for (const auto& [name, layer] : layers_)
    if (files.insert(layer.file).second)
      // Without the file it is this layer, the first of several, that is missing.
      pare::with_context("layer " + in_quotes(name),
                         [&, &layer = layer] { check_file(layer.file); });
}

void PackedLayers::check_file(const std::string& file) {
  const std::filesystem::path path = directory_ / file;
  const pare::PackedFile packed(path);
  for (const pare::PackedRecord& record : packed.records()) {
    const auto layer = layers_.find(record.name);
    if (layer == layers_.end() || layer->second.file != file)
      throw pare::FormatError(path.string() + ": the matrix " + in_quotes(record.name) +
                              " is not expected here: config.json does not name it");
    layer->second.record = record;
  }
  for (const auto& [name, layer] : layers_)
    if (layer.file == file && !packed.contains(name))
      throw pare::FormatError(path.string() + ": the matrix " + in_quotes(name) +
                              " is missing: config.json places it here");
}

const PackedLayer* PackedLayers::find(std::string_view name) const {
  const auto layer = layers_.find(name);
  return layer == layers_.end() ? nullptr : &layer->second;
}

std::vector<std::optional<Linear>> PackedLayers::read(std::span<const std::string> names,
                                                      PackedAccess access,
                                                      const pare::Execution& execution) const {
  std::map<std::string, pare::PackedFile> files;  // matrices that are mapped share a file's mapping
  for (const std::string& name : names)
    if (const PackedLayer* layer = find(name))
      files.try_emplace(layer->file, directory_ / layer->file);
  std::vector<std::optional<Linear>> linears(names.size());
  execution.parallel_for(static_cast<Index>(names.size()), [&](Index i) {
    const std::string& name = names[static_cast<std::size_t>(i)];
    const PackedLayer* layer = find(name);
    if (!layer) return;
    const pare::PackedFile& file = files.at(layer->file);
    linears[static_cast<std::size_t>(i)].emplace(
        access == PackedAccess::load ? file.load(name) : file.map(name), layer->activations);
  });
  return linears;
}

nlohmann::json PackedLayers::settings(const Layers& layers) {
  nlohmann::json objects = nlohmann::json::object();
  for (const auto& [name, layer] : layers) {
    objects[name] = {{"file", layer.file}};
    write_activations(layer.activations, objects[name]);
  }
  nlohmann::json settings = pare::pare_config(std::move(objects));
  settings["layout"] = "packed";
  return settings;
}

}  // namespace engine
