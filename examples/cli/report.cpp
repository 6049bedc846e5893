#include "cli/report.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <set>
#include <string>

#include "cli/standard_output.hpp"
#include "pare/io/atomic_file.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/version.hpp"

namespace cli {
namespace {

/// What pare wrote of a model's answers may be written again.
bool holds_answers(const std::filesystem::path& path) {
  if (path.extension() != ".safetensors") return false;
  try {
    return pare::SafetensorsReader::open(path).metadata().contains(answers_key);
  } catch (const pare::Error&) {
    return false;
  }
}

nlohmann::json to_json(const ReportRow& row) {
  nlohmann::json json{{"method", row.method},
                      {"format", row.format},
                      {"group_size", row.group_size},
                      {"act_order", row.act_order},
                      {"bits_per_weight", row.bits_per_weight},
                      {"weight_bytes", row.weight_bytes},
                      {"quantize_seconds", row.quantize_seconds}};
  const auto add = [&](const char* key, const std::optional<double>& value) {
    json[key] = value ? nlohmann::json(*value) : nlohmann::json();
  };
  if (row.sparsity) add("sparsity", row.sparsity);
  add("kl", row.kl);
  add("top1", row.top1);
  if (row.perplexity) {
    add("bits_per_byte", row.bits_per_byte);
    add("perplexity", row.perplexity);
  } else {
    add("accuracy", row.accuracy);
    add("cosine", row.cosine);
  }
  if (row.speed) {
    add_speed(json, *row.speed);
    json["prefill_speed_up"] = row.speed->prefill_speed_up.ratio;
    if (row.speed->decodes) json["decode_speed_up"] = row.speed->decode_speed_up.ratio;
    json["speed_up_steady"] = row.speed->steady();
  }
  return json;
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

/// Null is empty; what holds a comma is in quotes.
std::string csv_cell(const nlohmann::json& value) {
  if (value.is_null()) return "";
  if (!value.is_string()) return value.dump();
  const auto text = value.get<std::string>();
  return text.find(',') == std::string::npos ? text : '"' + text + '"';
}

}  // namespace

void add_speed(nlohmann::json& json, const Speed& speed) {
  json["prefill_tokens_per_second"] = speed.prefill_tokens_per_second;
  json["prefill_share"] = speed.prefill_share;
  if (!speed.decodes) return;
  json["decode_tokens_per_second"] = speed.decode_tokens_per_second;
  json["decode_share"] = speed.decode_share;
}

nlohmann::json run_context(int threads, const std::vector<std::string>& kernels) {
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return {{"machine", processor_name()},  {"compiler", PARE_COMPILER},
          {"flags", PARE_COMPILER_FLAGS}, {"kernels", kernels},
          {"threads", threads},           {"seed", nullptr},
          {"version", pare::version},     {"date", date}};
}

void require_report_path(const std::string& option, const std::filesystem::path& path,
                         std::initializer_list<const char*> extensions, const InputPaths& inputs) {
  if (path.empty()) return;
  if (extensions.size() > 0 &&
      std::find(extensions.begin(), extensions.end(), path.extension()) == extensions.end()) {
    std::string expected;
    for (const char* extension : extensions)
      expected += (expected.empty() ? "" : " or ") + std::string(extension);
    throw pare::ArgumentError(option + " " + path.string() + " does not end in " + expected);
  }
  inputs.require_no_input(path, option);
  std::error_code ignored;
  const auto directory = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  if (!std::filesystem::is_directory(directory, ignored))
    throw pare::IoError(option + " " + path.string() + ": there is no such directory");
  if (std::filesystem::is_directory(path, ignored))
    throw pare::IoError(option + " " + path.string() + " is a directory");
  const auto status = std::filesystem::symlink_status(path, ignored);
  if (std::filesystem::exists(status)) {
    // It would be replaced, not written to.
    if (!std::filesystem::is_regular_file(status))
      throw pare::ArgumentError(option + " " + path.string() + " is no regular file");
    if (is_model_file(path.filename().string()) && !holds_answers(path))
      throw pare::ArgumentError(option + " " + path.string() +
                                " is a file of a model: choose another name");
    if (::access(path.c_str(), W_OK) != 0)
      throw pare::IoError(option + " " + path.string() +
                          ": cannot be written to: " + std::generic_category().message(errno));
  }
  if (::access(directory.c_str(), W_OK | X_OK) != 0)
    throw pare::IoError(option + " " + path.string() + ": cannot write to " + directory.string() +
                        ": " + std::generic_category().message(errno));
}

void write_report(const std::filesystem::path& path, const std::vector<ReportRow>& rows,
                  const nlohmann::json& context) {
  if (path.empty()) return;
  nlohmann::json json_rows = nlohmann::json::array();
  for (const ReportRow& row : rows) json_rows.push_back(to_json(row));
  write_rows(path, json_rows, {{"context", context}});
}

void write_rows(const std::filesystem::path& path, const nlohmann::json& rows,
                nlohmann::json more) {
  if (path.empty()) return;
  if (path.extension() == ".json") {
    more["rows"] = rows;
    pare::write_json(path, more);
    return;
  }
  // Not every row has every column.
  std::set<std::string> columns;
  for (const auto& row : rows)
    for (const auto& [key, value] : row.items()) columns.insert(key);
  std::string text;
  for (const std::string& column : columns) text += (text.empty() ? "" : ",") + column;
  text += "\n";
  for (const auto& row : rows) {
    std::string line;
    for (const std::string& column : columns)
      line +=
          (column == *columns.begin() ? "" : ",") + csv_cell(row.value(column, nlohmann::json()));
    text += line + "\n";
  }
  pare::write_file(path, text);
}

}  // namespace cli
