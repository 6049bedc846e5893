#include "cli/train_plan.hpp"

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>
#include <vector>

#include "cli/inputs.hpp"
#include "cli/output_directory.hpp"
#include "pare/io/json.hpp"

namespace cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// The command of a stage, and what tells it from others.
struct Stage {
  std::string name;
  TrainCommand command;
  Json values;
};

std::string text_field(const Json& object, const char* field) {
  if (!object.contains(field)) return "";
  if (!object[field].is_string())
    throw pare::FormatError("the field \"" + std::string(field) + "\" is no text");
  return object[field].get<std::string>();
}

void require_name(const std::string& name, const std::set<std::string>& before) {
  const bool is_plain = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
  if (name.empty() || !is_plain || name.front() == '.' || name == "MODEL")
    throw pare::FormatError("a stage's name is \"" + name +
                            "\": letters, digits, -, _ and . make one, but not MODEL");
  if (before.contains(name)) throw pare::FormatError("two stages are named " + name);
}

/// What a stage means by a model.
fs::path model_of(const std::string& said, const TrainCommand& command,
                  const std::set<std::string>& before) {
  if (said.empty() || said == "MODEL") return command.model.model;
  if (before.contains(said)) return command.out / said;
  if (!fs::exists(said))
    throw pare::ArgumentError("\"" + said +
                              "\" is no stage before this one, no directory, and not MODEL");
  return said;
}

Stage read_stage(const Json& json, const TrainCommand& command,
                 const std::set<std::string>& before) {
  if (!json.is_object()) throw pare::FormatError("a stage is " + json.dump() + ", no object");
  Stage stage{text_field(json, "name"), command, json};
  require_name(stage.name, before);
  return pare::with_context("stage \"" + stage.name + "\"", [&] {
    Json step = json;
    for (const char* field : {"name", "model", "teachers"}) step.erase(field);
    stage.command.recipe = step_from_values<TrainRecipe>(step);
    stage.command.recipe.validate();
    stage.command.plan.clear();
    stage.command.model.model = model_of(text_field(json, "model"), command, before);
    if (json.contains("teachers")) {
      if (!json["teachers"].is_array())
        throw pare::FormatError("the field \"teachers\" is no list");
      stage.command.teachers.clear();
      for (const Json& teacher : json["teachers"]) {
        if (!teacher.is_string()) throw pare::FormatError("a teacher is no text");
        stage.command.teachers.push_back(model_of(teacher.get<std::string>(), command, before));
      }
    }
    stage.command.out = command.out / stage.name;
    if (!command.teacher_cache.empty()) stage.command.teacher_cache += "." + stage.name;
    if (!command.log.empty()) stage.command.log = command.log / stage.name;
    return stage;
  });
}

std::vector<Stage> read_stages(const TrainCommand& command) {
  const Json file = pare::read_json(command.plan);
  return pare::with_context(command.plan.string(), [&] {
    if (!file.is_object() || file.value("version", Json()) != 1)
      throw pare::FormatError("the plan is no object with \"version\": 1");
    for (const auto& item : file.items())
      if (item.key() != "version" && item.key() != "stages")
        throw pare::FormatError("unknown field \"" + item.key() +
                                "\"; there are version and stages");
    if (!file.contains("stages") || !file["stages"].is_array() || file["stages"].empty())
      throw pare::FormatError("the field \"stages\" is no list of stages");
    std::vector<Stage> stages;
    std::set<std::string> names;
    for (const Json& json : file["stages"]) {
      stages.push_back(read_stage(json, command, names));
      names.insert(stages.back().name);
    }
    return stages;
  });
}

/// Which stages a directory holds, by name, as the plan said them.
Json read_record(const fs::path& directory) {
  const fs::path path = directory / plan_record_name;
  if (fs::exists(path)) return pare::read_json(path);
  if (fs::exists(directory) && !fs::is_empty(directory))
    throw pare::ArgumentError(directory.string() +
                              " exists and is not of a plan: name another --out");
  return Json::object();
}

/// What a stage's result depends on beside its values.
Json described(const Stage& stage) {
  Json all = stage.values;
  all["model"] = stage.command.model.model.string();
  all["teachers"] = Json::array();
  for (const fs::path& teacher : stage.command.teachers)
    all["teachers"].push_back(teacher.string());
  all["data"] = stage.command.data.string();
  all["tokens"] = stage.command.tokens.string();
  if (stage.command.model.window) all["window"] = stage.command.model.window;
  return all;
}

}  // namespace

void train_plan(const TrainCommand& command) {
  const std::vector<Stage> stages = read_stages(command);
  Json record = read_record(command.out);
  for (const Stage& stage : stages)
    if (record.contains(stage.name) && record[stage.name] != described(stage) && !command.force)
      throw pare::ArgumentError((command.out / stage.name).string() +
                                " is of another plan's stage: --force does it anew, or name "
                                "another --out");
  fs::create_directories(command.out);
  // Before the first stage: a directory that is not finished is known as a plan's.
  pare::write_json(command.out / plan_record_name, record);
  bool is_new = false;  // what follows on a stage that was done anew is done anew
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = stages[i];
    const bool is_done = record.contains(stage.name) && record[stage.name] == described(stage) &&
                         fs::exists(stage.command.out);
    std::printf("stage %zu of %zu, %s%s\n", i + 1, stages.size(), stage.name.c_str(),
                is_done && !is_new ? ": done before" : "");
    std::fflush(stdout);
    if (is_done && !is_new) continue;
    TrainCommand own = stage.command;
    own.force = fs::exists(own.out);
    pare::with_context("stage \"" + stage.name + "\"", [&] { train(own); });
    is_new = true;
    record[stage.name] = described(stage);
    pare::write_json(command.out / plan_record_name, record);
  }
}

}  // namespace cli
