#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace cli {

/// A manifest says what the bytes of a result depend on:
///
///     {"options": {...}, "model": {file: fingerprint}, "calibration": ..., "kernels": [...],
///      "layers": {layer: what is done to it}, "version": ...}
///
/// Work is resumed only when nothing of it differs. What was finished already does not depend on
/// layers that are not, so their entries of "layers" may.

/// Kept in the finished directory too: it says how the model was made and by whom, and lists under
/// "files" what may be removed with it.
inline constexpr const char* manifest_name = "pare_manifest.json";

/// A place where two manifests differ.
struct ManifestDifference {
  std::vector<std::string> path;  ///< keys, from the outermost
  nlohmann::json before, now;     ///< null where the key is missing

  /// As a person reads it: "--group-size was 64 and is 32", "the model's config.json has changed".
  [[nodiscard]] std::string text() const;
};

/// All places, in the order of the keys; "files" does not count.
[[nodiscard]] std::vector<ManifestDifference> manifest_differences(const nlohmann::json& before,
                                                                   const nlohmann::json& now);

}  // namespace cli
