#include "engine/pooling.hpp"

#include <string>
#include <system_error>

#include "engine/config_fields.hpp"
#include "pare/io/json.hpp"

namespace engine {

Pooling read_pooling(const std::filesystem::path& directory) {
  Pooling pooling;
  const std::filesystem::path modules = directory / "modules.json";
  if (std::error_code ignored; !std::filesystem::exists(modules, ignored)) return pooling;
  const nlohmann::json list = pare::read_json(modules);
  if (!list.is_array()) throw pare::FormatError(modules.string() + ": the file is no list");
  for (const auto& module : list) {
    const auto text = [&](const char* key) {
      return module.is_object() && module.contains(key) && module[key].is_string()
                 ? module[key].get<std::string>()
                 : std::string();
    };
    const std::string type = text("type"), path = text("path");
    pooling.normalizes = pooling.normalizes || type.ends_with(".Normalize");
    if (!type.ends_with(".Pooling")) continue;
    // A name that leaves the directory is not followed.
    if (path.find("..") != std::string::npos || path.starts_with("/"))
      throw pare::FormatError(modules.string() + ": the path \"" + path +
                              "\" is not in the directory");
    const std::filesystem::path flat = directory / flat_pooling_name;
    std::error_code ignored;
    const std::filesystem::path file =
        std::filesystem::exists(flat, ignored) ? flat : directory / path / "config.json";
    const nlohmann::json settings = pare::read_json(file);
    if (!settings.is_object()) throw pare::FormatError(file.string() + ": not a JSON object");
    pooling.by_mean = pare::with_context(file.string(), [&] {
      return ConfigFields(settings).flag("pooling_mode_mean_tokens", false);
    });
  }
  return pooling;
}

}  // namespace engine
