#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "cli/pipeline/calibration_stream.hpp"
#include "engine/checkpoint.hpp"

namespace cli {

/// Everything the bytes of a compressed model depend on, for its manifest; not the number of
/// threads. `layers` says what is done to each. Reads the model once; throws NumericError for
/// tensors that are not finite where they would be read after work was done.
[[nodiscard]] nlohmann::json run_manifest(nlohmann::json options,
                                          const std::map<std::string, std::string>& layers,
                                          const engine::Checkpoint& checkpoint,
                                          const std::optional<CalibrationWindows>& windows);

}  // namespace cli
