#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iterator>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "pare/core/index.hpp"

namespace cli {

/// Seconds since the object was made.
class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

[[nodiscard]] inline std::string clock_text(double seconds) {
  const auto total = static_cast<long>(seconds + 0.5);
  char text[32];
  if (total >= 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", total / 3600, total / 60 % 60, total % 60);
  else
    std::snprintf(text, sizeof text, "%ld:%02ld", total / 60, total % 60);
  return text;
}

/// One line on standard error: what runs now, how far it is and how long it will take. On a
/// terminal the line is rewritten; elsewhere a line per block is printed.
class Progress {
 public:
  Progress(std::string title, pare::Index blocks, pare::Index done = 0, const char* unit = "block")
      : title_(std::move(title)), unit_(unit), blocks_(blocks), skipped_(done), block_(done) {}
  /// Of units that take longer than others: `costs` of all of them, in one measure.
  Progress(std::string title, std::vector<double> costs, const char* unit)
      : Progress(std::move(title), std::ssize(costs), 0, unit) {
    costs_ = std::move(costs);
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  void begin_block(pare::Index block) {
    block_ = block;
    fraction_ = 0.0;
    if (!terminal_) print("", "\n");
  }
  /// Where blocks are many and short: nothing is printed but on a terminal.
  void pass(pare::Index block) {
    block_ = block;
    if (terminal_) print("", "");
  }

  /// `fraction` of the block is done; `layer` is next.
  void step(const std::string& layer, double fraction) {
    fraction_ = fraction;
    if (terminal_) print(layer, "");
  }

  void clear() {
    if (terminal_ && printed_) std::fputs("\r\033[K", stderr);
    printed_ = false;
  }

 private:
  void print(const std::string& layer, const char* end) {
    const double done = cost(skipped_, block_) + fraction_ * cost(block_, block_ + 1);
    const double left = cost(skipped_, blocks_) - done;
    const std::string remaining =
        done > 0.0 ? clock_text(watch_.seconds() / done * left) + " left" : "estimating";
    std::fprintf(stderr, "%s%s: %s %td of %td%s%s, %s%s", terminal_ ? "\r\033[K" : "",
                 title_.c_str(), unit_, block_ + 1, blocks_, layer.empty() ? "" : ", ",
                 layer.c_str(), remaining.c_str(), end);
    std::fflush(stderr);
    printed_ = true;
  }

  [[nodiscard]] double cost(pare::Index first, pare::Index last) const {
    if (costs_.empty()) return static_cast<double>(last - first);
    return std::accumulate(costs_.begin() + first, costs_.begin() + std::min(last, blocks_), 0.0);
  }

  std::string title_;
  const char* unit_;
  std::vector<double> costs_{};
  pare::Index blocks_, skipped_, block_;
  double fraction_ = 0.0;
  Stopwatch watch_;
  bool terminal_ = ::isatty(STDERR_FILENO) != 0;
  bool printed_ = false;
};

}  // namespace cli
