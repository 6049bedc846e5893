#include "training/training_state.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "pare/core/error.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_writer.hpp"

namespace training {
namespace {

/// Calls use(name in the file, values) for all that a state holds.
template <class Use>
void for_each_part(std::span<const Trainable> parameters, Optimizer& optimizer, const Use& use) {
  for (const Trainable& parameter : parameters) use("value." + parameter.name, parameter.value);
  for (Optimizer::Memory& memory : optimizer.memories())
    for (std::size_t p = 0; p < parameters.size(); ++p)
      use(std::string(memory.name) + "." + parameters[p].name,
          std::span<float>(memory.of_parameter[p]));
}

}  // namespace

void save_state(const std::filesystem::path& file, const std::string& key,
                std::span<const Trainable> parameters, Optimizer& optimizer, std::int64_t steps) {
  optimizer.allocate(parameters);
  std::vector<pare::TensorSpec> specs;
  for_each_part(parameters, optimizer, [&](const std::string& name, std::span<float> values) {
    specs.push_back({name, pare::DType::F32, {std::ssize(values)}});
  });
  pare::SafetensorsWriter writer(file, specs, {{"key", key}, {"steps", std::to_string(steps)}});
  for_each_part(parameters, optimizer, [&](const std::string& name, std::span<float> values) {
    writer.write(name, std::as_bytes(values));
  });
  writer.finish();
}

std::optional<std::int64_t> load_state(const std::filesystem::path& file, const std::string& key,
                                       std::span<const Trainable> parameters,
                                       Optimizer& optimizer) {
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
  for_each_part(parameters, optimizer, [&](const std::string& name, std::span<float> values) {
    if (!reader.contains(name) || reader.info(name).dtype != pare::DType::F32 ||
        reader.info(name).bytes.size() != values.size_bytes())
      throw refuse("has no fitting tensor " + name);
    std::memcpy(values.data(), reader.info(name).bytes.data(), values.size_bytes());
  });
  return steps;
}

}  // namespace training
