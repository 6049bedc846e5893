#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "training/log/event_file.hpp"

namespace training {

/// The numbers of every step, three times: `steps.jsonl`, an object a line; `steps.csv`, with a
/// line of names first; `events.out.tfevents.0.pare`, for TensorBoard. Each step is on the disk
/// when `add` returns.
class StepLog {
 public:
  /// In `directory`, which is made. Steps of an earlier log before `first_step` stay, later ones
  /// are cut off: they will be done again. A log of nothing (`first_step` 0) replaces another.
  ///
  /// Errors    pare::IoError for what cannot be written; pare::ArgumentError for files of these
  ///           names that are no logs: they are left alone
  StepLog(const std::filesystem::path& directory, std::int64_t first_step);

  /// Errors    pare::ArgumentError for names that are not those of the steps before,
  ///           pare::IoError
  void add(std::int64_t step, std::span<const LoggedValue> scalars);

 private:
  struct File {
    std::filesystem::path path;
    std::ofstream stream;
    void write(const std::string& text);
  };
  void open(File& file, const char* name);

  std::filesystem::path directory_;
  File lines_, table_, events_;
  std::string names_;  ///< the first line of the table
};

}  // namespace training
