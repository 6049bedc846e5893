#include "cli/sensitivity_table.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "cli/formatted.hpp"

namespace cli {
namespace {

/// What a model is judged by beside KL, and its name.
std::pair<const char*, std::optional<double>> measure_of(const Damage& damage) {
  if (damage.bits_per_byte) return {"bits/byte", damage.bits_per_byte};
  if (damage.perplexity) return {"perplexity", damage.perplexity};
  if (damage.accuracy) return {"accuracy", *damage.accuracy};
  return {"top-1", damage.top1};
}

int name_width(const std::vector<std::string>& names) {
  std::size_t width = 5;
  for (const std::string& name : names) width = std::max(width, name.size());
  return static_cast<int>(width);
}

}  // namespace

std::string sensitivity_headings(const Sensitivity& result, const std::vector<std::string>& names) {
  const auto [measure, value] = measure_of(result.float_model);
  const int width = name_width(names), columns = static_cast<int>(result.shares.size());
  std::string lines = formatted(
      "%-*s %*s %*s\n", width, "", 9 * columns, ("KL, nats per " + result.unit).c_str(),
      9 * columns + 1, (std::string(measure) + ", float " + formatted("%.4f", *value)).c_str());
  lines += formatted("%-*s", width, "layer");
  for (const char* gap : {"", " "}) {
    lines += gap;
    for (const std::string& share : result.shares) lines += formatted(" %8s", share.c_str());
  }
  return lines + "\n";
}

std::string sensitivity_line(const LayerSensitivity& layer, const std::vector<std::string>& names) {
  std::string line = formatted("%-*s", name_width(names), layer.layer.c_str());
  for (const Damage& damage : layer.damage) line += formatted(" %8.5f", damage.kl);
  line += " ";
  for (const Damage& damage : layer.damage)
    line += formatted(" %8.4f", measure_of(damage).second.value_or(0.0));
  return line + "\n";
}

std::string sensitivity_conclusion(const Sensitivity& result) {
  if (result.layers.size() < 2) return {};
  const std::size_t share = result.shares.size() / 2;
  std::vector<const LayerSensitivity*> order;
  for (const LayerSensitivity& layer : result.layers) order.push_back(&layer);
  const auto kl = [&](const LayerSensitivity* layer) { return layer->damage[share].kl; };
  std::stable_sort(order.begin(), order.end(),
                   [&](const auto* a, const auto* b) { return kl(a) > kl(b); });
  const std::size_t shown = std::min<std::size_t>(3, order.size() / 2);
  std::string lines;
  const auto add = [&](const char* what, auto first) {
    lines += result.shares[share] + " hurts " + what + ": ";
    for (std::size_t i = 0; i < shown; ++i, ++first)
      lines += (i ? ", " : "") + (*first)->layer + formatted(" (%.5f)", kl(*first));
    lines += "\n";
  };
  add("most ", order.begin());
  add("least", order.rbegin());
  return lines;
}

}  // namespace cli
