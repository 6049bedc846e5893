#include "cli/plain_model.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "engine/config.hpp"
#include "pare/io/json.hpp"
#include "pare/io/quantization_config.hpp"

namespace cli {
namespace {

constexpr std::string_view ending = ".weight";
constexpr Index least_side = 32;

/// A name with each of its numbers, one at a time, taken out.
std::vector<std::string> without_one_number(const std::string& name) {
  std::vector<std::string> patterns;
  const auto is_digit = [&](std::size_t i) {
    return std::isdigit(static_cast<unsigned char>(name[i])) != 0;
  };
  for (std::size_t begin = 0; begin < name.size(); ++begin) {
    if (!is_digit(begin) || (begin > 0 && name[begin - 1] != '.')) continue;
    std::size_t end = begin;
    while (end < name.size() && is_digit(end)) ++end;
    if (end < name.size() && name[end] == '.')
      patterns.push_back(name.substr(0, begin) + "#" + name.substr(end));
    begin = end;
  }
  return patterns;
}

/// Parts of names of what is no ordinary layer.
bool is_special(std::string name) {
  for (std::size_t at = 0; (at = name.find("gate_proj", at)) != std::string::npos;)
    name.erase(at, 9);
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::array<std::string_view, 5> words{"embed", "norm", "router", "gate", "head"};
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return name.find(word) != std::string::npos; });
}

bool is_float(pare::DType dtype) {
  return dtype == pare::DType::F32 || dtype == pare::DType::F16 || dtype == pare::DType::BF16;
}

}  // namespace

std::optional<PlainModel> PlainModel::open(const std::filesystem::path& directory) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(directory, ignored)) return std::nullopt;
  std::string type;
  if (const auto config = directory / "config.json"; std::filesystem::exists(config, ignored)) {
    const nlohmann::json json = pare::read_json(config);
    if (!json.is_object() || engine::is_known_family(json)) return std::nullopt;
    type = json.contains("model_type") && json["model_type"].is_string()
               ? json["model_type"].get<std::string>()
               : json["architectures"][0].dump();
  } else {
    // Without weights either, what is missing is named by whoever opens it as a model.
    bool any = false;
    for (const auto& entry : std::filesystem::directory_iterator(directory, ignored))
      any = any || entry.path().extension() == ".safetensors";
    if (!any) return std::nullopt;
  }
  const auto found = pare::find_quantization_config(directory);
  return PlainModel(directory, type, found ? found->settings : nlohmann::json(),
                    pare::SafetensorsCollection::open(
                        directory, found ? pare::model_file_base_name(found->settings) : ""));
}

std::vector<LayerShape> PlainModel::layers() const {
  std::map<std::string, int> alike;
  std::vector<std::string> names;
  for (const std::string& tensor : tensors_.names()) {
    if (!tensor.ends_with(ending)) continue;
    const pare::TensorInfo& info = tensors_.info(tensor);
    if (info.shape.size() != 2 || !is_float(info.dtype)) continue;
    names.push_back(tensor.substr(0, tensor.size() - ending.size()));
    for (const std::string& pattern : without_one_number(tensor)) ++alike[pattern];
  }
  std::vector<LayerShape> layers;
  for (const std::string& name : names) {
    const std::string tensor = name + std::string(ending);
    const auto& shape = tensors_.info(tensor).shape;
    const auto patterns = without_one_number(tensor);
    const bool in_blocks = std::any_of(patterns.begin(), patterns.end(),
                                       [&](const auto& pattern) { return alike[pattern] >= 2; });
    const bool taken = in_blocks && std::min(shape[0], shape[1]) >= least_side && !is_special(name);
    layers.push_back({name, {shape[0], shape[1]}, false, !taken});
  }
  return layers;
}

}  // namespace cli
