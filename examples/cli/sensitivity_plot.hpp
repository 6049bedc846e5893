#pragma once

#include <string>

#include "cli/sensitivity_result.hpp"

namespace cli {

/// KL over the model's depth as an SVG of its own: a panel for each share, a line for each kind of
/// layer. Experts of a kind are one line, of their mean.
[[nodiscard]] std::string sensitivity_plot(const Sensitivity& result, const std::string& subtitle);

}  // namespace cli
