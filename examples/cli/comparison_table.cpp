#include "cli/comparison_table.hpp"

#include <cmath>

#include "cli/formatted.hpp"

namespace cli {
namespace {

/// Marks a row whose speed-ups a busy machine made doubtful.
constexpr char mark = '?';

std::string method_label(const ReportRow& row) {
  return row.method + (row.act_order ? " act-order" : "");
}

std::string format_label(const ReportRow& row) {
  return row.format + (row.group_size > 0 ? " g" + std::to_string(row.group_size) : "");
}

/// What a kind of model is judged by: the number that the table shows.
struct Measure {
  const char* name;
  double value;
  bool is_loss;  ///< its change is relative; else it is a share, and changes by points
};

Measure measure_of(const ReportRow& row) {
  if (row.bits_per_byte) return {"bits/byte", *row.bits_per_byte, true};
  if (row.perplexity) return {"perplex.", *row.perplexity, true};
  if (row.accuracy) return {"accuracy", 100.0 * *row.accuracy, false};
  if (row.cosine) return {"cosine", *row.cosine, true};
  return {"accuracy", std::nan(""), false};
}

std::string headings(const ReportRow& base) {
  std::string line = formatted("%-21s %-16s %6s %8s %6s %6s %9s %8s", "method", "format", "bits/w",
                               "MB", "vs F32", "vs F16", measure_of(base).name, "change");
  if (base.kl) line += formatted(" %9s %7s", "KL", "top-1");
  if (base.speed) {
    line += base.speed->decodes
                ? formatted(" %9s %8s %14s %9s", "prefill/s", "decode/s", "speed-up ", "of limit")
                : formatted(" %9s %8s %8s", "tokens/s", "speed-up", "of limit");
  }
  return line + formatted(" %7s\n", "seconds");
}

std::string speed_columns(const Speed& speed) {
  const char doubt = speed.steady() ? ' ' : mark;
  if (!speed.decodes)
    return formatted(" %9.0f %6.2fx%c %7.0f%%", speed.prefill_tokens_per_second,
                     speed.prefill_speed_up.ratio, doubt, 100.0 * speed.prefill_share);
  return formatted(" %9.0f %8.0f %5.2fx/%5.2fx%c %3.0f%%/%3.0f%%", speed.prefill_tokens_per_second,
                   speed.decode_tokens_per_second, speed.prefill_speed_up.ratio,
                   speed.decode_speed_up.ratio, doubt, 100.0 * speed.prefill_share,
                   100.0 * speed.decode_share);
}

/// What rounds to "-0.00" as "+0.00".
double without_minus_zero(double percent) { return std::fabs(percent) < 0.005 ? 0.0 : percent; }

}  // namespace

std::string ComparisonTable::add(const ReportRow& row) {
  std::string lines;
  if (!base_) {
    base_ = row;
    lines = headings(row);
  }
  const double n = static_cast<double>(row.parameters);
  const double bytes = static_cast<double>(row.weight_bytes);
  const Measure own = measure_of(row), base = measure_of(*base_);
  lines += formatted("%-21s %-16s %6.2f %8.2f %5.2fx %5.2fx", method_label(row).c_str(),
                     format_label(row).c_str(), row.bits_per_weight, bytes / 1e6, 4.0 * n / bytes,
                     2.0 * n / bytes);
  if (own.is_loss)
    lines += formatted(" %9.4f %+7.2f%%", own.value,
                       without_minus_zero(100.0 * (own.value / base.value - 1.0)));
  else if (std::isnan(own.value))
    lines += formatted(" %9s %8s", "-", "-");
  else
    lines += formatted(" %8.2f%% %+8.2f", own.value, without_minus_zero(own.value - base.value));
  if (base_->kl)
    lines += formatted(" %9.5f %6.2f%%", row.kl.value_or(0.0), 100.0 * row.top1.value_or(1.0));
  if (base_->speed && row.speed) {
    marked_ = marked_ || !row.speed->steady();
    lines += speed_columns(*row.speed);
  }
  return lines + formatted(" %7.1f\n", row.quantize_seconds);
}

std::string ComparisonTable::legend() const {
  std::string lines;
  if (base_ && base_->speed)
    lines =
        "speed-up: the median of runs that take turns with the float model, so it need not be the\n"
        "   quotient of two rows\n";
  if (!marked_) return lines;
  return lines + formatted(
                     "%c: the first and the last half of the runs differ by more than %.0f %% in "
                     "how many times "
                     "faster\n   than float they are, as on a busy machine; measure again\n",
                     mark, 100.0 * SpeedUp::steady_share);
}

}  // namespace cli
