#include "training/training_state.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "pare/core/error.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_writer.hpp"
#include "pare/io/xxh64.hpp"

namespace training {
namespace {

/// Calls use(name in the file, type there, bytes) for all that a state holds.
template <class Use>
void for_each_part(std::span<const Trainable> parameters, Optimizer& optimizer,
                   std::span<const StatePart> more, const Use& use) {
  const auto floats = [&](const std::string& name, std::span<float> values) {
    use(name, pare::DType::F32, std::as_writable_bytes(values));
  };
  for (const Trainable& parameter : parameters) floats("value." + parameter.name, parameter.value);
  for (Optimizer::Memory& memory : optimizer.memories())
    for (std::size_t p = 0; p < parameters.size(); ++p)
      floats(std::string(memory.name) + "." + parameters[p].name, memory.of_parameter[p]);
  for (const StatePart& part : more) use(part.name, pare::DType::U8, part.bytes);
}

/// Of all that a state holds, to find damage.
class StateChecksum {
 public:
  explicit StateChecksum(const std::string& steps) { add(std::as_bytes(std::span(steps))); }
  void add(std::span<const std::byte> bytes) { of_parts_.push_back(pare::Xxh64().finish(bytes)); }
  [[nodiscard]] std::string text() const {
    return std::to_string(pare::Xxh64().finish(std::as_bytes(std::span(of_parts_))));
  }

 private:
  std::vector<std::uint64_t> of_parts_;
};

}  // namespace

void save_state(const std::filesystem::path& file, const std::string& key,
                std::span<const Trainable> parameters, Optimizer& optimizer, std::int64_t steps,
                std::span<const StatePart> more) {
  optimizer.allocate(parameters);
  using Bytes = std::span<std::byte>;
  std::vector<pare::TensorSpec> specs;
  StateChecksum checksum(std::to_string(steps));
  for_each_part(parameters, optimizer, more,
                [&](const std::string& name, pare::DType type, Bytes bytes) {
                  const Index size = type == pare::DType::F32 ? 4 : 1;
                  specs.push_back({name, type, {std::ssize(bytes) / size}});
                  checksum.add(bytes);
                });
  pare::SafetensorsWriter writer(
      file, specs, {{"key", key}, {"steps", std::to_string(steps)}, {"checksum", checksum.text()}});
  for_each_part(
      parameters, optimizer, more,
      [&](const std::string& name, pare::DType, Bytes bytes) { writer.write(name, bytes); });
  writer.finish();
}

std::optional<std::int64_t> load_state(const std::filesystem::path& file, const std::string& key,
                                       std::span<const Trainable> parameters, Optimizer& optimizer,
                                       std::span<const StatePart> more) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  const auto refuse = [&](const std::string& why) -> pare::FormatError {
    return pare::FormatError(file.string() + " " + why + ": remove it to train from the beginning");
  };
  const auto reader = pare::SafetensorsReader::open(file);
  const auto text_of = [&](const char* name) {
    const auto found = reader.metadata().find(name);
    if (found == reader.metadata().end()) throw refuse("is no state of a training");
    return found->second;
  };
  if (text_of("key") != key) throw refuse("is the state of another training");
  const std::string text = text_of("steps");
  std::int64_t steps = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), steps);
  if (error != std::errc() || end != text.data() + text.size() || steps < 0)
    throw refuse("has no number of steps");
  optimizer.allocate(parameters);
  // All are looked at before any is taken.
  StateChecksum checksum(text);
  for (const bool takes : {false, true}) {
    if (takes && checksum.text() != text_of("checksum")) throw refuse("is damaged");
    for_each_part(parameters, optimizer, more,
                  [&](const std::string& name, pare::DType type, std::span<std::byte> bytes) {
                    if (!reader.contains(name) || reader.info(name).dtype != type ||
                        reader.info(name).bytes.size() != bytes.size())
                      throw refuse("has no fitting tensor " + name);
                    if (!takes)
                      checksum.add(reader.info(name).bytes);
                    else if (!bytes.empty())
                      std::memcpy(bytes.data(), reader.info(name).bytes.data(), bytes.size());
                  });
  }
  return steps;
}

}  // namespace training
