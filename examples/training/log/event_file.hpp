#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace training {

/// A number of a step: "loss".
struct LoggedValue {
  std::string name;
  double value = 0.0;
};

/// Records of a TensorBoard event file, as bytes.
///
/// A record is a length of 8 bytes, its masked CRC-32C, as many bytes, and theirs; all
/// little-endian. The bytes are a protobuf message Event: the first of a file says its version,
/// each other one the scalars of a step.
/// Source: TFRecord, and event.proto and summary.proto of TensorFlow
[[nodiscard]] std::string event_version_record(double wall_time);
/// Values are float32. Throws pare::ArgumentError for a negative step.
[[nodiscard]] std::string event_scalars_record(double wall_time, std::int64_t step,
                                               std::span<const LoggedValue> scalars);

/// How many bytes from the beginning are whole records of steps before `step`, the version first.
/// What follows is cut off, damaged, or of later steps. 0 where even the first record is none.
[[nodiscard]] std::size_t event_bytes_before(std::string_view file, std::int64_t step);

}  // namespace training
