#include "cli/comparison_table.hpp"

#include <cstdarg>
#include <cstdio>

namespace cli {
namespace {

/// Marks a row whose speed-ups a busy machine made doubtful.
constexpr char mark = '?';

[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...) {
  char buffer[256];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

std::string method_label(const ReportRow& row) {
  return row.method + (row.act_order ? " act-order" : "");
}

std::string format_label(const ReportRow& row) {
  return row.format + (row.group_size > 0 ? " g" + std::to_string(row.group_size) : "");
}

std::string headings(const ReportRow& base) {
  std::string line = text("%-19s %-16s %6s %8s %6s %6s %9s %8s %9s %7s", "method", "format",
                          "bits/w", "MB", "vs F32", "vs F16",
                          base.bits_per_byte ? "bits/byte" : "perplex.", "change", "KL", "top-1");
  if (base.speed)
    line += text(" %9s %8s %14s %9s", "prefill/s", "decode/s", "speed-up ", "of limit");
  return line + text(" %7s\n", "seconds");
}

}  // namespace

std::string ComparisonTable::add(const ReportRow& row) {
  std::string lines;
  if (!base_) {
    base_ = row;
    lines = headings(row);
  }
  const double n = static_cast<double>(row.parameters);
  const double bytes = static_cast<double>(row.weight_bytes);
  const double loss = row.bits_per_byte.value_or(row.perplexity);
  const double base_loss = base_->bits_per_byte.value_or(base_->perplexity);
  lines += text("%-19s %-16s %6.2f %8.2f %5.2fx %5.2fx %9.4f %+7.2f%% %9.5f %6.2f%%",
                method_label(row).c_str(), format_label(row).c_str(), row.bits_per_weight,
                bytes / 1e6, 4.0 * n / bytes, 2.0 * n / bytes, loss,
                100.0 * (loss / base_loss - 1.0), row.kl, 100.0 * row.top1);
  if (base_->speed && row.speed) {
    const Speed& speed = *row.speed;
    marked_ = marked_ || !speed.steady();
    lines += text(" %9.0f %8.0f %5.2fx/%5.2fx%c %3.0f%%/%3.0f%%", speed.prefill_tokens_per_second,
                  speed.decode_tokens_per_second, speed.prefill_speed_up.ratio,
                  speed.decode_speed_up.ratio, speed.steady() ? ' ' : mark,
                  100.0 * speed.prefill_share, 100.0 * speed.decode_share);
  }
  return lines + text(" %7.1f\n", row.quantize_seconds);
}

std::string ComparisonTable::legend() const {
  if (!marked_) return {};
  return text(
      "%c: the first and the last half of the runs differ by more than %.0f %% in how many times "
      "faster\n   than float they are, as on a busy machine; measure again\n",
      mark, 100.0 * SpeedUp::steady_share);
}

}  // namespace cli
