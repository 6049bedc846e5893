#pragma once

#include <string>
#include <vector>

#include "cli/sensitivity_result.hpp"

namespace cli {

/// The lines above the table that `sensitivity` prints, a layer at a time: KL for each share, and
/// what the model is judged by. `names` are those of all layers that will come.
[[nodiscard]] std::string sensitivity_headings(const Sensitivity& result,
                                               const std::vector<std::string>& names);
/// The line of one layer.
[[nodiscard]] std::string sensitivity_line(const LayerSensitivity& layer,
                                           const std::vector<std::string>& names);

/// Which layers suffer most and least, in two lines; empty where there is nothing to compare.
[[nodiscard]] std::string sensitivity_conclusion(const Sensitivity& result);

}  // namespace cli
