#include "cli/input_paths.hpp"

#include <algorithm>
#include <string>
#include <system_error>

#include "pare/core/error.hpp"

namespace cli {

namespace fs = std::filesystem;

namespace {

/// Links, `.` and `..` resolved as far as the path exists.
fs::path resolved(const fs::path& path) {
  std::error_code error;
  fs::path result = fs::weakly_canonical(fs::absolute(path, error), error);
  if (error) result = path;
  return result.has_filename() ? result : result.parent_path();
}

/// The same file or directory, by any name: a hard link or another mount too.
bool is_same(const fs::path& a, const fs::path& b) {
  std::error_code error;
  return a == b || fs::equivalent(a, b, error);
}

/// Both resolved; a directory counts as inside itself.
bool is_inside(fs::path path, const fs::path& directory) {
  for (;; path = path.parent_path()) {
    if (is_same(path, directory)) return true;
    if (path == path.parent_path()) return false;
  }
}

}  // namespace

fs::path text_file_source(const fs::path& directory, std::string_view name) {
  std::error_code ignored;
  const fs::path flat = directory / name;
  if (name != engine::flat_pooling_name || fs::exists(flat, ignored)) return flat;
  return directory / engine::pooling_file;
}

bool is_model_file(std::string_view name) {
  const auto is = [&](std::string_view other) { return name == other; };
  static constexpr std::array<std::string_view, 7> others{
      "config.json",       "quantize_config.json",
      "quant_config.json", "calib.txt",
      "calib.npy",         "eval.txt",
      "eval.npy"};
  return std::any_of(text_file_names.begin(), text_file_names.end(), is) ||
         std::any_of(others.begin(), others.end(), is) || name.ends_with(".safetensors") ||
         name.ends_with(".safetensors.index.json") || name.ends_with(".pack") ||
         name.starts_with("pare_");
}

void InputPaths::add_model(const fs::path& directory) {
  std::error_code error;
  if (!fs::is_directory(directory, error)) return;
  models_.push_back(resolved(directory));
  for (const auto& entry : fs::directory_iterator(directory, error))
    if (is_model_file(entry.path().filename().string())) add_file(entry.path());
}

void InputPaths::add_file(const fs::path& file) {
  if (!file.empty()) files_.push_back(resolved(file));
}

void InputPaths::require_apart(const fs::path& directory) const {
  const fs::path out = resolved(directory);
  const auto refuse = [&](const std::string& why) {
    throw pare::ArgumentError("--out " + directory.string() + " " + why + ": choose another --out");
  };
  for (const fs::path& model : models_) {
    if (is_same(out, model)) refuse("is the model itself");
    if (is_inside(model, out)) refuse("contains the model that is read, " + model.string());
    if (is_inside(out, model)) refuse("lies inside the model that is read, " + model.string());
  }
  for (const fs::path& file : files_)
    if (is_inside(file, out)) refuse("contains a file that is read, " + file.string());
}

void InputPaths::require_no_input(const fs::path& file, std::string_view option) const {
  const fs::path out = resolved(file);
  for (const fs::path& input : files_)
    if (is_same(out, input))
      throw pare::ArgumentError(std::string(option) + " " + file.string() +
                                " is a file that is read: choose another name");
}

}  // namespace cli
