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

void read_steps(const Json& steps, RecipeFile& file) {
  if (!steps.is_array() || steps.empty())
    throw pare::FormatError("the field \"steps\" is " + shown(steps) + ", no list of steps");
  const auto refuse_second = [&](bool is_there, const char* step, const char* why) {
    if (is_there)
      throw pare::FormatError(std::string("there are several steps \"") + step + "\": " + why);
  };
  for (const Json& step : steps) {
    if (!step.is_object()) throw pare::FormatError("a step is " + shown(step) + ", no object");
    if (!step.contains("step")) throw pare::FormatError("a step lacks the field \"step\"");
    Json values = step;
    values.erase("step");
    if (step["step"] == "quantize") {
      refuse_second(file.quantize.has_value(), "quantize",
                    "one quantizes all layers; give layers formats of their own by \"rules\"");
      pare::with_context("step \"quantize\"", [&] { file.quantize = recipe_from_values(values); });
    } else if (step["step"] == "train") {
      if (steps.size() != 1)
        throw pare::FormatError(
            "a step \"train\" is alone: other steps follow on what it wrote, and so does --plan");
      pare::with_context("step \"train\"",
                         [&] { file.train = step_from_values<TrainRecipe>(values); });
    } else if (step["step"] == "prune" && (step.contains("structure") || step.contains("replay"))) {
      if (steps.size() != 1)
        throw pare::FormatError(
            "a step \"prune\" with a \"structure\" is alone: other steps follow on what it wrote");
      pare::with_context("step \"prune\"",
                         [&] { file.structure = step_from_values<StructureRecipe>(values); });
    } else if (step["step"] == "prune") {
      refuse_second(file.prune.has_value(), "prune", "one prunes all layers");
      if (file.quantize) throw pare::FormatError("the step \"prune\" comes before \"quantize\"");
      pare::with_context("step \"prune\"",
                         [&] { file.prune = step_from_values<PruneRecipe>(values); });
    } else {
      throw pare::FormatError("unknown step " + shown(step["step"]) +
                              "; there are \"prune\", \"quantize\" and \"train\"");
    }
  }
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
    RecipeFile result;
    read_steps(file["steps"], result);
    if (file.contains("calibration")) {
      const Json& calibration = file["calibration"];
      require_fields(calibration, "\"calibration\"", {"window", "windows", "stride"});
      result.window = size_field(calibration, "window");
      result.windows = size_field(calibration, "windows");
      result.stride = size_field(calibration, "stride");
    }
    return result;
  });
}

std::string command_of(const RecipeFile& recipe) {
  return recipe.train ? "pare train" : recipe.quantize ? "pare quantize" : "pare prune";
}

Json recipe_json(const RecipeFile& recipe) {
  Json steps = Json::array();
  const auto add = [&](const char* name, const auto& step) {
    if (!step) return;
    steps.push_back(values_of_step(*step));
    steps.back()["step"] = name;
  };
  add("prune", recipe.prune);
  add("prune", recipe.structure);
  add("quantize", recipe.quantize);
  add("train", recipe.train);
  Json file{{"version", 1}, {"steps", std::move(steps)}};
  if (recipe.window) file["calibration"]["window"] = *recipe.window;
  if (recipe.windows) file["calibration"]["windows"] = *recipe.windows;
  if (recipe.stride && *recipe.stride != 1) file["calibration"]["stride"] = *recipe.stride;
  return file;
}

}  // namespace cli
