#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/checkpoint.hpp"
#include "labs/bits_per_byte.hpp"
#include "pare/io/mapped_file.hpp"
#include "training/trainer.hpp"

namespace lab {

/// A text of bytes as token ids.
[[nodiscard]] inline std::vector<std::int32_t> read_ids(const std::filesystem::path& file) {
  const pare::MappedFile mapped(file);
  std::vector<std::int32_t> ids;
  for (const std::byte b : mapped.bytes()) ids.push_back(static_cast<std::int32_t>(b));
  return ids;
}

/// The text that models are measured on: with fewer steps than 60, for a glance, its first part.
[[nodiscard]] inline std::string read_text(const std::filesystem::path& file, std::int64_t steps) {
  const pare::MappedFile mapped(file);
  std::string text(reinterpret_cast<const char*>(mapped.bytes().data()), mapped.bytes().size());
  if (steps < 60) text.resize(std::min<std::size_t>(text.size(), 8193));
  return text;
}

/// Quality and time of a model on a text.
struct Measured {
  double bits = 0.0, seconds = 0.0;
};
[[nodiscard]] inline Measured measure(const engine::Model& model, const std::string& text,
                                      const pare::Execution& execution) {
  const auto start = std::chrono::steady_clock::now();
  const double bits = bits_per_byte(model, text, execution);
  return {bits, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
}

/// What a lab that trains begins with: the float model, batches of 8 windows of its calibration
/// text, and how good it is on another one.
struct Beginning {
  engine::Model model;
  std::vector<std::int32_t> ids;
  training::TextBatches batches;
  std::string text;
  Measured whole;

  Beginning(const std::filesystem::path& directory, std::int64_t steps,
            const pare::Execution& execution)
      : model(engine::Checkpoint(directory).load(execution)),
        ids(read_ids(directory / "calib.txt")),
        batches(ids, 256, 8, 1),
        text(read_text(directory / "eval.txt", steps)),
        whole(measure(model, text, execution)) {}
};

/// "quality 97.1 % (expected more than 95 %: met)": float bits per byte over those of a model.
inline void print_quality(double float_bits, double bits, double expected_percent) {
  const double percent = 100.0 * float_bits / bits;
  std::printf("quality %5.1f %% (expected more than %.0f %%: %s)\n", percent, expected_percent,
              percent > expected_percent ? "met" : "missed");
  std::fflush(stdout);
}

/// Trains for so many steps of 8 sequences, and prints the loss at the beginning and at the end.
inline void train(training::Trainer& trainer, std::int64_t steps,
                  const pare::Execution& execution) {
  double first = 0.0, last = 0.0;
  for (std::int64_t step = 0; step < steps; ++step) {
    last = trainer.step(step, execution).loss;
    if (step == 0) first = last;
  }
  trainer.settle(execution);
  std::printf("  %lld steps: loss %.4f, then %.4f\n", static_cast<long long>(steps), first, last);
}

}  // namespace lab
