#pragma once

#include <optional>
#include <string>

#include "cli/report.hpp"

namespace cli {

/// The table that `compare` prints, a line at a time, as rows finish. What is measured only
/// sometimes (the speed) has columns only if the first row has it.
class ComparisonTable {
 public:
  /// The line of a row, after the line of headings for the first one: the float model, which
  /// changes and ratios are relative to. Every line ends in a newline.
  [[nodiscard]] std::string add(const ReportRow& row);

  /// What the marks of the lines so far mean; empty without any.
  [[nodiscard]] std::string legend() const;

 private:
  std::optional<ReportRow> base_;
  bool marked_ = false;
};

}  // namespace cli
