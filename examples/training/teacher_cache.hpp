#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pare/core/tensor.hpp"
#include "pare/distillation/top_k.hpp"
#include "pare/kernels/execution.hpp"

namespace training {

using pare::Index;

struct TeacherCacheOptions {
  Index tokens = 0;          ///< of a batch
  Index classes = 0;         ///< of the teacher
  Index kept = 64;           ///< the most likely ones; at most all
  double temperature = 1.0;  ///< of their probabilities
  /// Log-probabilities as float16, whose error is 2^-11 of them, else float32.
  bool is_half = true;
};

/// What a teacher says of batches, on the disk: of each token the most likely classes, and how
/// likely all others are together.
///
/// A file has a header that says what it depends on, then a record of one size for each batch, by
/// its number. Records come in any order; each has a checksum, so that one that was not written,
/// not wholly, or is damaged counts as missing. See the page of this room for the bytes.
class TeacherCache {
 public:
  /// Opens a file, or makes it. `key` says what the answers depend on: teacher, text, batches.
  ///
  /// Errors    pare::ArgumentError for a file that is no cache, or one of another key or other
  ///           options: it is left alone; pare::FormatError for a damaged header; pare::IoError
  TeacherCache(std::filesystem::path path, const std::string& key,
               const TeacherCacheOptions& options);
  TeacherCache(const TeacherCache&) = delete;
  TeacherCache& operator=(const TeacherCache&) = delete;
  ~TeacherCache();

  [[nodiscard]] const TeacherCacheOptions& options() const noexcept { return options_; }

  /// The answers of a batch, or nothing where they are not there. Probabilities have the sum 1.
  [[nodiscard]] std::optional<pare::TopKLogits<float>> read(std::int64_t record) const;
  /// Keeps what matters of logits (tokens, classes), and returns it as `read` would.
  pare::TopKLogits<float> write(std::int64_t record, pare::MatrixView<const float> logits,
                                const pare::Execution& execution);

 private:
  [[nodiscard]] std::string header(const std::string& key) const;
  [[nodiscard]] std::uint64_t place_of(std::int64_t record) const;
  [[nodiscard]] pare::TopKLogits<float> decode(const std::vector<std::byte>& bytes) const;

  std::filesystem::path path_;
  TeacherCacheOptions options_;
  std::size_t header_bytes_ = 0, id_bytes_ = 2, value_bytes_ = 2, record_bytes_ = 0;
  int file_ = -1;
};

}  // namespace training
