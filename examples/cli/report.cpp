#include "cli/report.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>

#include "pare/io/atomic_file.hpp"
#include "pare/io/json.hpp"
#include "pare/version.hpp"

namespace cli {
namespace {

nlohmann::json to_json(const ReportRow& row) {
  nlohmann::json json{{"method", row.method},
                      {"format", row.format},
                      {"group_size", row.group_size},
                      {"act_order", row.act_order},
                      {"bits_per_weight", row.bits_per_weight},
                      {"weight_bytes", row.weight_bytes},
                      {"bits_per_byte", nullptr},
                      {"perplexity", row.perplexity},
                      {"kl", row.kl},
                      {"top1", row.top1},
                      {"prefill_tokens_per_second", row.speed.prefill_tokens_per_second},
                      {"decode_tokens_per_second", row.speed.decode_tokens_per_second},
                      {"prefill_share", row.speed.prefill_share},
                      {"decode_share", row.speed.decode_share},
                      {"quantize_seconds", row.quantize_seconds}};
  if (row.bits_per_byte) json["bits_per_byte"] = *row.bits_per_byte;
  return json;
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

std::string label(const ReportRow& row) { return row.method + (row.act_order ? " act-order" : ""); }

std::string format_label(const ReportRow& row) {
  return row.format + (row.group_size > 0 ? " g" + std::to_string(row.group_size) : "");
}

}  // namespace

void Table::add(const ReportRow& row) {
  if (!base_) {
    base_ = row;
    std::printf("%-19s %-16s %6s %8s %6s %6s %9s %8s %9s %7s %9s %8s %12s %9s %7s\n", "method",
                "format", "bits/w", "MB", "vs F32", "vs F16",
                row.bits_per_byte ? "bits/byte" : "perplex.", "change", "KL", "top-1", "prefill/s",
                "decode/s", "speed-up", "of limit", "seconds");
  }
  const double n = static_cast<double>(row.parameters);
  const double bytes = static_cast<double>(row.weight_bytes);
  const double loss = row.bits_per_byte.value_or(row.perplexity);
  const double base_loss = base_->bits_per_byte.value_or(base_->perplexity);
  const double prefill =
      row.speed.prefill_tokens_per_second / base_->speed.prefill_tokens_per_second;
  const double decode = row.speed.decode_tokens_per_second / base_->speed.decode_tokens_per_second;
  std::printf(
      "%-19s %-16s %6.2f %8.2f %5.2fx %5.2fx %9.4f %+7.2f%% %9.5f %6.2f%% %9.0f %8.0f "
      "%5.2fx/%5.2fx %3.0f%%/%3.0f%% %7.1f\n",
      label(row).c_str(), format_label(row).c_str(), row.bits_per_weight, bytes / 1e6,
      4.0 * n / bytes, 2.0 * n / bytes, loss, 100.0 * (loss / base_loss - 1.0), row.kl,
      100.0 * row.top1, row.speed.prefill_tokens_per_second, row.speed.decode_tokens_per_second,
      prefill, decode, 100.0 * row.speed.prefill_share, 100.0 * row.speed.decode_share,
      row.quantize_seconds);
  std::fflush(stdout);
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

void require_report_path(const std::filesystem::path& path,
                         std::initializer_list<const char*> extensions) {
  if (path.empty()) return;
  if (std::find(extensions.begin(), extensions.end(), path.extension()) == extensions.end()) {
    std::string expected;
    for (const char* extension : extensions)
      expected += (expected.empty() ? "" : " or ") + std::string(extension);
    throw pare::ArgumentError("--report " + path.string() + " does not end in " + expected);
  }
  std::error_code ignored;
  if (path.has_parent_path() && !std::filesystem::is_directory(path.parent_path(), ignored))
    throw pare::IoError("--report " + path.string() + ": there is no such directory");
}

void write_report(const std::filesystem::path& path, const std::vector<ReportRow>& rows,
                  const nlohmann::json& context) {
  if (path.empty()) return;
  nlohmann::json json_rows = nlohmann::json::array();
  for (const ReportRow& row : rows) json_rows.push_back(to_json(row));
  if (path.extension() == ".json") {
    pare::write_json(path, {{"rows", json_rows}, {"context", context}});
    return;
  }
  std::string text;
  for (const auto& row : json_rows) {
    if (text.empty()) {
      for (const auto& [key, value] : row.items()) text += (text.empty() ? "" : ",") + key;
      text += "\n";
    }
    std::string line;
    for (const auto& [key, value] : row.items())
      line += (line.empty() ? "" : ",") + (value.is_string() ? value.get<std::string>()
                                           : value.is_null() ? std::string()
                                                             : value.dump());
    text += line + "\n";
  }
  pare::write_file(path, text);
}

}  // namespace cli
