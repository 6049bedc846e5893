#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "engine/checkpoint.hpp"

namespace cli {

/// A model that is trained in another one's place.
///
///     half-depth   every second block of the other, from the first on, as it is
///     half-width   half the hidden size, heads and width of feed-forward halves, with new weights:
///                  normal, of the standard deviation that config.json says (or .02), norms 1,
///                  biases 0
///     DIR          another model
///
/// The first two are written into a directory beside `out`, `out`.student, which is gone with the
/// object; what a killed run has left there is replaced.
class Student {
 public:
  /// Errors    ArgumentError for a model that has no such half: few blocks, odd sizes, tensors that
  ///           config.json does not say; where `out`.student is somebody else's; IoError
  Student(const std::string& kind, const engine::Checkpoint& of, const std::filesystem::path& out,
          std::uint64_t seed);
  Student(const Student&) = delete;
  Student& operator=(const Student&) = delete;
  ~Student();

  [[nodiscard]] const std::filesystem::path& directory() const noexcept { return directory_; }

 private:
  std::filesystem::path directory_;
  bool is_own_ = false;
};

}  // namespace cli
