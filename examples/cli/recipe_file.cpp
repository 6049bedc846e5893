#include "cli/recipe_file.hpp"

#include <initializer_list>
#include <string>
#include <string_view>

#include "cli/recipe_options.hpp"
#include "pare/io/json.hpp"

namespace cli {
namespace {

using Json = nlohmann::json;

std::string shown(const Json& value) {
  return value.dump(-1, ' ', true, Json::error_handler_t::replace);
}

void require_fields(const Json& object, const std::string& what,
                    std::initializer_list<std::string_view> known) {
  if (!object.is_object()) throw pare::FormatError(what + " is " + shown(object) + ", no object");
  std::string names;
  for (const std::string_view name : known)
    names += (names.empty() ? "" : ", ") + std::string(name);
  for (const auto& item : object.items()) {
    bool found = false;
    for (const std::string_view name : known) found |= item.key() == name;
    if (!found)
      throw pare::FormatError(what + " has an unknown field \"" + item.key() + "\"; there are " +
                              names);
  }
}

std::optional<Index> size_field(const Json& object, const char* name) {
  if (!object.contains(name)) return std::nullopt;
  const Json& value = object[name];
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0)
    throw pare::FormatError("the field \"" + std::string(name) + "\" is " + shown(value) +
                            ", no count");
  return value.get<Index>();
}

/// Other steps may come; of this one there is one, since it quantizes all layers.
Recipe read_step(const Json& steps) {
  if (!steps.is_array() || steps.empty())
    throw pare::FormatError("the field \"steps\" is " + shown(steps) + ", no list of steps");
  for (const Json& step : steps) {
    if (!step.is_object()) throw pare::FormatError("a step is " + shown(step) + ", no object");
    if (!step.contains("step")) throw pare::FormatError("a step lacks the field \"step\"");
    if (step["step"] != "quantize")
      throw pare::FormatError("unknown step " + shown(step["step"]) + "; there is \"quantize\"");
  }
  if (steps.size() > 1)
    throw pare::FormatError("there are " + std::to_string(steps.size()) +
                            " steps \"quantize\": one quantizes all layers; give layers formats of "
                            "their own by \"rules\"");
  Json values = steps[0];
  values.erase("step");
  return pare::with_context("step \"quantize\"", [&] { return recipe_from_values(values); });
}

}  // namespace

RecipeFile read_recipe(const std::filesystem::path& path) {
  const Json file = pare::read_json(path);
  return pare::with_context(path.string(), [&] {
    require_fields(file, "the recipe", {"version", "calibration", "steps"});
    if (!file.contains("version") || file["version"] != 1)
      throw pare::FormatError("the field \"version\" is " +
                              (file.contains("version") ? shown(file["version"]) : "missing") +
                              ", but 1 can be read");
    if (!file.contains("steps")) throw pare::FormatError("the field \"steps\" is missing");
    RecipeFile result{.recipe = read_step(file["steps"])};
    if (file.contains("calibration")) {
      const Json& calibration = file["calibration"];
      require_fields(calibration, "\"calibration\"", {"window", "windows"});
      result.window = size_field(calibration, "window");
      result.windows = size_field(calibration, "windows");
    }
    return result;
  });
}

Json recipe_json(const RecipeFile& recipe) {
  Json step = values_of_recipe(recipe.recipe);
  step["step"] = "quantize";
  Json file{{"version", 1}, {"steps", Json::array({std::move(step)})}};
  if (recipe.window) file["calibration"]["window"] = *recipe.window;
  if (recipe.windows) file["calibration"]["windows"] = *recipe.windows;
  return file;
}

}  // namespace cli
