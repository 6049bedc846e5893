#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "training/optimizer.hpp"

namespace training {

/// Something else that changes from step to step: bytes, as they are in memory.
struct StatePart {
  std::string name;
  std::span<std::byte> bytes;
};

/// Everything that training goes on from: the values of what is trained, what the optimizer
/// remembers, what `more` names, and the number of steps done. A file of safetensors, which
/// replaces the one before it at once: a kill leaves either of them.
///
/// `key` says what the training depends on.
void save_state(const std::filesystem::path& file, const std::string& key,
                std::span<const Trainable> parameters, Optimizer& optimizer, std::int64_t steps,
                std::span<const StatePart> more = {});

/// The steps that were done, or nothing where there is no file. Throws pare::FormatError, naming
/// the file, for one that is damaged or of another training.
[[nodiscard]] std::optional<std::int64_t> load_state(const std::filesystem::path& file,
                                                     const std::string& key,
                                                     std::span<const Trainable> parameters,
                                                     Optimizer& optimizer,
                                                     std::span<const StatePart> more = {});

}  // namespace training
