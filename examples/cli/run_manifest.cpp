#include "cli/run_manifest.hpp"

#include <utility>

#include "cli/content_hash.hpp"
#include "cli/model_fingerprint.hpp"
#include "engine/block_tensors.hpp"
#include "pare/kernels/cpu.hpp"
#include "pare/version.hpp"

namespace cli {

nlohmann::json run_manifest(nlohmann::json options,
                            const std::map<std::string, std::string>& layers,
                            const engine::Checkpoint& checkpoint,
                            const std::optional<CalibrationWindows>& windows) {
  nlohmann::json kernels = nlohmann::json::array();
  for (const auto name : pare::kernels::supported_kernels()) kernels.push_back(to_string(name));
  // Where nothing is calibrated layers are checked as they are read: finished blocks stay.
  const auto must_be_finite = [&](const std::string& name) {
    const engine::ModelConfig& config = checkpoint.config();
    return is_outer_tensor(config, name) || (windows && engine::is_block_tensor(config, name));
  };
  ContentHash calibration;
  if (windows) {
    const engine::ModelInputs& inputs = windows->inputs;
    const auto add = [&](const auto* values, std::size_t count) {
      calibration.add({reinterpret_cast<const char*>(values), count * sizeof *values});
    };
    add(inputs.ids.data(), inputs.ids.size());
    calibration.add(std::to_string(inputs.length));
    add(inputs.types.data(), inputs.types.size());
    add(inputs.visible.data(), inputs.visible.size());
    add(inputs.pixels.data(), static_cast<std::size_t>(inputs.pixels.size()));
  }
  return {{"options", std::move(options)},
          {"layers", layers},
          {"model", model_fingerprint(checkpoint.files(), must_be_finite)},
          {"calibration", calibration.hex()},
          {"kernels", kernels},
          {"version", pare::version}};
}

}  // namespace cli
