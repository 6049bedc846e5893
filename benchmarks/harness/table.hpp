#pragma once

#include <string>
#include <vector>

#include "harness/result.hpp"

namespace bench {

/// The lines of one operation's table, with a column for each rival of its rows.
class Table {
 public:
  /// Prints the head. `rows` are those to come.
  Table(const std::string& operation, const std::vector<const Row*>& rows);
  void print(const Result& result) const;

 private:
  std::vector<std::string> rivals_;
  int variant_width_ = 7;
};

/// "peak 86% met, onednn 1.00x MISSED", without goals that could not be measured.
[[nodiscard]] std::string describe_goals(const std::vector<GoalResult>& goals);

}  // namespace bench
