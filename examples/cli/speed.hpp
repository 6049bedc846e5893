#pragma once

#include <cstdint>
#include <span>

#include "cli/runtime.hpp"
#include "cli/speed_up.hpp"
#include "engine/model.hpp"

namespace cli {

using pare::Index;

/// How fast a model runs, beside what the machine allows.
struct Speed {
  bool decodes = true;  ///< false of encoders, whose prefill is all there is
  double prefill_tokens_per_second = 0.0;
  double decode_tokens_per_second = 0.0;
  /// Share of the speed at which all multiplications run at the processor's measured peak: of its
  /// 8-bit instructions where weights and activations are quantized, else of float32.
  double prefill_share = 0.0;
  /// Share of the speed at which a plain loop reads the bytes that a token needs.
  double decode_share = 0.0;
  /// Weights, their scales, the output layer, keys and values.
  double decode_bytes = 0.0;
  double bytes_per_second = 0.0;               ///< that the plain loop reads
  double prefill_operations = 0.0;             ///< multiplications and additions
  double prefill_operations_per_second = 0.0;  ///< at the peaks
  /// Over the model that ran beside this one; 1 if none did.
  SpeedUp prefill_speed_up{}, decode_speed_up{};

  [[nodiscard]] bool steady() const {
    return prefill_speed_up.steady && (!decodes || decode_speed_up.steady);
  }
};

struct SpeedOptions {
  /// Tokens decoded.
  Index tokens = 32;
  int prefills = 5;
  /// No further run begins after this.
  double seconds = 1.0;
};

/// Medians of runs: `prompt` at once, and single tokens after it. Only the logits of the last token
/// are computed. The limits are measured between the runs, as neighbours come and go on a machine;
/// for the same reason every run has one of `beside`, if given, right before or after it.
[[nodiscard]] Speed measure_speed(const engine::Model& model, std::span<const std::int32_t> prompt,
                                  Runtime& runtime, const SpeedOptions& options = {},
                                  const engine::Model* beside = nullptr);

/// The same of an encoder: runs of all `inputs` at once.
[[nodiscard]] Speed measure_encoder_speed(const engine::Model& model,
                                          const engine::ModelInputs& inputs, Runtime& runtime,
                                          const SpeedOptions& options = {},
                                          const engine::Model* beside = nullptr);

}  // namespace cli
