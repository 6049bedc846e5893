#include "training/log/event_file.hpp"

#include <bit>
#include <optional>

#include "pare/core/error.hpp"
#include "training/log/crc32c.hpp"

namespace training {
namespace {

/// Keys of fields: number << 3 | kind, see "Encoding" of the protobuf documentation.
enum Key : unsigned char {
  event_wall_time = 1 << 3 | 1,
  event_step = 2 << 3 | 0,
  event_file_version = 3 << 3 | 2,
  event_summary = 5 << 3 | 2,
  summary_value = 1 << 3 | 2,
  value_tag = 1 << 3 | 2,
  value_simple_value = 2 << 3 | 5,
};

template <class Word>
std::string little_endian(Word word) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof word; ++i, word = static_cast<Word>(word >> 8))
    bytes += static_cast<char>(word & 0xff);
  return bytes;
}

std::uint64_t from_little_endian(std::string_view bytes) {
  std::uint64_t word = 0;
  for (std::size_t i = bytes.size(); i-- > 0;)
    word = word << 8 | static_cast<unsigned char>(bytes[i]);
  return word;
}

/// Seven bits a byte, the lowest first; the highest bit of a byte says that more follow.
std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 128; value >>= 7) bytes += static_cast<char>((value & 127) | 128);
  return bytes += static_cast<char>(value);
}

std::string field(Key key, std::string_view bytes) {
  return static_cast<char>(key) + varint(bytes.size()) + std::string(bytes);
}

std::string wall_time_field(double seconds) {
  return static_cast<char>(event_wall_time) + little_endian(std::bit_cast<std::uint64_t>(seconds));
}

std::string record_of(std::string_view event) {
  const std::string length = little_endian(static_cast<std::uint64_t>(event.size()));
  return length + little_endian(masked_crc32c(length)) + std::string(event) +
         little_endian(masked_crc32c(event));
}

/// What a record before the step holds, which is taken off the front of `rest`.
bool take_record(std::string_view& rest, std::string_view& event) {
  if (rest.size() < 12) return false;
  const std::string_view length = rest.substr(0, 8);
  if (from_little_endian(rest.substr(8, 4)) != masked_crc32c(length)) return false;
  const std::uint64_t size = from_little_endian(length);
  if (size > rest.size() - 12 || rest.size() - 12 - size < 4) return false;
  event = rest.substr(12, size);
  if (from_little_endian(rest.substr(12 + size, 4)) != masked_crc32c(event)) return false;
  rest.remove_prefix(12 + size + 4);
  return true;
}

/// The step of an event as they are written here: after the time.
std::optional<std::int64_t> step_of(std::string_view event) {
  if (event.size() < 10 || static_cast<unsigned char>(event[9]) != event_step) return std::nullopt;
  std::uint64_t step = 0;
  for (std::size_t i = 0; i < 9 && 10 + i < event.size(); ++i) {
    const auto byte = static_cast<unsigned char>(event[10 + i]);
    step |= static_cast<std::uint64_t>(byte & 127) << (7 * i);
    if (byte < 128) return static_cast<std::int64_t>(step);
  }
  return std::nullopt;
}

}  // namespace

std::string event_version_record(double wall_time) {
  return record_of(wall_time_field(wall_time) + field(event_file_version, "brain.Event:2"));
}

std::string event_scalars_record(double wall_time, std::int64_t step,
                                 std::span<const LoggedValue> scalars) {
  if (step < 0) throw pare::ArgumentError("step " + std::to_string(step) + " of a log");
  std::string summary;
  for (const LoggedValue& scalar : scalars)
    summary +=
        field(summary_value,
              field(value_tag, scalar.name) + static_cast<char>(value_simple_value) +
                  little_endian(std::bit_cast<std::uint32_t>(static_cast<float>(scalar.value))));
  return record_of(wall_time_field(wall_time) + static_cast<char>(event_step) +
                   varint(static_cast<std::uint64_t>(step)) + field(event_summary, summary));
}

std::size_t event_bytes_before(std::string_view file, std::int64_t step) {
  std::string_view rest = file, event;
  if (!take_record(rest, event) || event.size() < 10 ||
      static_cast<unsigned char>(event[9]) != event_file_version)
    return 0;
  for (std::string_view next = rest; take_record(next, event); rest = next) {
    const auto its_step = step_of(event);
    if (!its_step || *its_step >= step) break;
  }
  return file.size() - rest.size();
}

}  // namespace training
