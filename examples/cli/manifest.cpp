#include "cli/manifest.hpp"

#include <algorithm>
#include <set>

namespace cli {

using Json = nlohmann::json;

namespace {

std::string value_text(const Json& value) {
  if (value.is_null()) return "not set";
  std::string text = value.is_string() ? value.get<std::string>()
                                       : value.dump(-1, ' ', true, Json::error_handler_t::replace);
  constexpr std::size_t longest = 80;
  if (text.size() > longest) {
    text.resize(longest);
    text += "...";
  }
  return text;
}

Json child(const Json& value, const std::string& key) {
  if (!value.is_object() || !value.contains(key)) return nullptr;
  return value.at(key);
}

void collect(const Json& before, const Json& now, std::vector<std::string>& path,
             std::vector<ManifestDifference>& found) {
  if (before == now) return;
  const auto is_open = [](const Json& value) { return value.is_object() || value.is_null(); };
  if (!is_open(before) || !is_open(now) || path.size() == 2) {
    found.push_back({path, before, now});
    return;
  }
  std::set<std::string> keys;
  for (const Json* value : {&before, &now})
    if (value->is_object())
      for (const auto& item : value->items()) keys.insert(item.key());
  for (const std::string& key : keys) {
    if (path.empty() && key == "files") continue;
    path.push_back(key);
    collect(child(before, key), child(now, key), path, found);
    path.pop_back();
  }
}

}  // namespace

std::string ManifestDifference::text() const {
  const std::string& group = path.front();
  const std::string name = path.back();
  const std::string change = " was " + value_text(before) + " and is " + value_text(now);
  if (path.size() == 1) {
    if (group == "calibration") return "the calibration text has changed";
    if (group == "model") return "the model has changed";
    return group + change;
  }
  if (group == "model")
    return "the model's " + name + (name == "weights" ? " have" : " has") + " changed";
  if (group == "calibration") return "calibration: " + name + change;
  if (group == "options") {
    std::string option = name;
    std::replace(option.begin(), option.end(), '_', '-');
    return "--" + option + change;
  }
  return name + change;
}

std::vector<ManifestDifference> manifest_differences(const Json& before, const Json& now) {
  std::vector<ManifestDifference> found;
  std::vector<std::string> path;
  collect(before, now, path, found);
  return found;
}

}  // namespace cli
