#pragma once

#include <string>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"

namespace pare {

/// How matmuls cut their work; the defaults suit caches of 32 KiB and 1 MiB or more. Products of
/// int8 activations do not depend on it; float32 sums are formed over pieces of `float_columns`.
struct MatmulTuning {
  /// Panels of 16 channels in an iteration of a parallel loop, at least: activations come from far
  /// caches once for so many.
  Index panels = 4;
  /// Columns of int8 weights decoded at a time, 32 to 512: 16 KiB with 32 channels.
  Index int8_columns = 512;
  /// Tokens whose sums of int8 products are kept meanwhile, 16 to 128: 16 KiB. For so many,
  /// decoding costs a few hundredths of the time.
  Index int8_tokens = 128;
  /// Bytes of activation codes that all weights meet before the next ones, at least 64 KiB: what a
  /// second-level cache keeps beside weights. Weights are read once for so many; it is never less
  /// than `int8_tokens`.
  Index int8_activation_bytes = Index{1} << 20;
  /// Columns of float32 weights decoded at a time, 32 to 256, twice as many of bf16: 32 KiB, most
  /// of a first-level cache; the activations of a tile stream past them.
  Index float_columns = 256;

  friend bool operator==(const MatmulTuning&, const MatmulTuning&) = default;
};

[[nodiscard]] inline std::string to_string(const MatmulTuning& tuning) {
  return "iterations of " + std::to_string(tuning.panels) + " panels, int8 weights decoded by " +
         std::to_string(tuning.int8_columns) + " columns for " +
         std::to_string(tuning.int8_tokens) + " tokens, " +
         std::to_string(tuning.int8_activation_bytes / 1024) +
         " KiB of int8 activations at a time, float32 weights by " +
         std::to_string(tuning.float_columns) + " columns";
}

namespace kernels {

/// The largest values: what is decoded lies in memory of these sizes.
inline constexpr MatmulTuning largest_tuning{};
/// Every unit of packed codes divides it.
inline constexpr Index tuning_column_step = 32;

/// Throws ArgumentError naming a field that is out of its range or not a multiple of its step.
inline void check_tuning(const MatmulTuning& tuning) {
  const auto check = [](const char* name, Index value, Index least, Index most, Index step) {
    if (value < least || value > most || value % step != 0)
      throw ArgumentError("the tuning of a matmul has " + std::string(name) + " " +
                          std::to_string(value) + ", not a multiple of " + std::to_string(step) +
                          " in [" + std::to_string(least) + ", " + std::to_string(most) + "]");
  };
  constexpr Index step = tuning_column_step;
  check("panels", tuning.panels, 1, Index{1} << 20, 1);
  check("int8_columns", tuning.int8_columns, step, largest_tuning.int8_columns, step);
  check("int8_tokens", tuning.int8_tokens, 16, largest_tuning.int8_tokens, 1);
  check("int8_activation_bytes", tuning.int8_activation_bytes, Index{1} << 16, Index{1} << 40, 1);
  check("float_columns", tuning.float_columns, step, largest_tuning.float_columns, step);
}

}  // namespace kernels
}  // namespace pare
