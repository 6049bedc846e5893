#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "training/optimizer.hpp"

namespace training {

/// Everything that training goes on from: the values of what is trained, what the optimizer
/// remembers, and the number of steps done. A file of safetensors, which replaces the one before it
/// at once: a kill leaves either of them.
///
/// `key` says what the training depends on.
void save_state(const std::filesystem::path& file, const std::string& key,
                std::span<const Trainable> parameters, Optimizer& optimizer, std::int64_t steps);

/// The steps that were done, or nothing where there is no file. Throws pare::FormatError, naming
/// the file, for one that is damaged or of another training.
[[nodiscard]] std::optional<std::int64_t> load_state(const std::filesystem::path& file,
                                                     const std::string& key,
                                                     std::span<const Trainable> parameters,
                                                     Optimizer& optimizer);

}  // namespace training
