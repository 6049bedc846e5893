#include "harness/table.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace bench {
namespace {

__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...) {
  char text[128];
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text, sizeof text, pattern, arguments);
  va_end(arguments);
  return text;
}

/// Blank where there is no value.
std::string number(const char* pattern, double value) {
  return value > 0.0 ? format(pattern, value) : "";
}

std::string duration(double seconds) {
  if (seconds < 1e-3) return format("%.4g us", seconds * 1e6);
  return seconds < 1.0 ? format("%.4g ms", seconds * 1e3) : format("%.4g s", seconds);
}

void cell(int width, const std::string& text) { std::printf("%*s", width, text.c_str()); }

int width_of(const std::string& rival) { return std::max(9, static_cast<int>(rival.size()) + 2); }

}  // namespace

std::string describe_goals(const std::vector<GoalResult>& goals) {
  std::string text;
  for (const GoalResult& g : goals) {
    if (g.reached == 0.0) continue;
    text += (text.empty() ? "" : ", ") + g.name + " ";
    if (g.name == "peak" || g.name == "bandwidth")
      text += format("%.0f%%", g.goal * 100);
    else if (g.name == "seconds")
      text += duration(g.goal);
    else
      text += format("%.2fx", g.goal);
    text += g.met ? " met" : " MISSED";
  }
  return text;
}

Table::Table(const std::string& operation, const std::vector<const Row*>& rows) {
  const auto add = [&](const std::string& name) {
    if (std::find(rivals_.begin(), rivals_.end(), name) == rivals_.end()) rivals_.push_back(name);
  };
  for (const Row* row : rows) {
    variant_width_ = std::max(variant_width_, static_cast<int>(row->variant.size()));
    for (const Rival& r : row->rivals) add(r.name);
    for (const Recorded& r : row->recorded) add(r.name);
  }
  std::printf("\n%s\n%-*s %11s %6s %3s %4s %10s %9s %8s %6s %7s %8s", operation.c_str(),
              variant_width_, "variant", "out x in", "tokens", "thr", "mem", "time", "GFLOP/s",
              "GB/s", "% peak", "% bw", "error");
  for (const std::string& name : rivals_) cell(width_of(name), name);
  std::printf("  goals\n");
}

void Table::print(const Result& r) const {
  std::printf("%-*s", variant_width_, r.row.variant.c_str());
  cell(12, r.row.out > 0 ? format("%tdx%td", r.row.out, r.row.in) : "");
  cell(7, r.row.tokens > 0 ? format("%td", r.row.tokens) : "");
  cell(4, format("%d", r.row.threads));
  cell(5, r.row.memory == Memory::cold ? "cold" : "warm");
  cell(11, duration(r.seconds));
  cell(10, number("%.1f", r.operations_per_second() / 1e9));
  cell(9, number("%.1f", r.bytes_per_second() / 1e9));
  cell(7, number("%.1f", r.share_of_peak * 100));
  cell(7, number("%.1f", r.share_of_bandwidth * 100));
  std::printf("%s", r.doubtful ? "?" : " ");
  cell(9, r.error >= 0.0 ? format("%.1e", r.error) : "");
  for (const std::string& name : rivals_) {
    const auto rival = std::find_if(r.rivals.begin(), r.rivals.end(),
                                    [&](const RivalResult& x) { return x.name == name; });
    const bool known = rival != r.rivals.end();
    cell(width_of(name), known ? number(rival->recorded ? "(%.2fx)" : "%.2fx", rival->ratio) : "");
  }
  std::printf("  %s\n", describe_goals(r.goals).c_str());
  std::fflush(stdout);
}

}  // namespace bench
