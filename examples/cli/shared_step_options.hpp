#pragma once

#include <string>
#include <string_view>

#include "cli/step_option.hpp"
#include "pare/core/index.hpp"

namespace cli {

// Options that several steps have, each under one name, and what their values may be.

template <class Step>
[[nodiscard]] StepOption<Step> damping_option(const char* help, bool compared,
                                              bool (*has_effect)(const Step&),
                                              std::string_view where) {
  return {.name = "damping",
          .flag = "--damping",
          .kind = OptionKind::number,
          .help = help,
          .compared = compared,
          .in_manifest = true,
          .has_effect = has_effect,
          .where = where,
          .get = [](const Step& step) { return nlohmann::json(step.damping); },
          .set = [](Step& step, const nlohmann::json& v) { step.damping = v.get<double>(); }};
}

template <class Step>
[[nodiscard]] StepOption<Step> min_expert_tokens_option(bool compared, std::string_view where) {
  return {.name = "min_expert_tokens",
          .flag = "--min-expert-tokens",
          .kind = OptionKind::integer,
          .help =
              "of mixtures of experts: one that the calibration text gives fewer tokens runs "
              "on all for its statistics",
          .compared = compared,
          .in_manifest = true,
          .has_effect = [](const Step& step) { return step.needs_calibration(); },
          .where = where,
          .get = [](const Step& step) { return nlohmann::json(step.min_expert_tokens); },
          .set = [](Step& step,
                    const nlohmann::json& v) { step.min_expert_tokens = v.get<pare::Index>(); }};
}

/// Throws ArgumentError for a damping or a number of tokens that cannot be.
template <class Step>
void require_shared_values(const Step& step) {
  if (!(step.damping >= 0.0 && step.damping <= 1.0))
    throw pare::ArgumentError("--damping " + std::to_string(step.damping) + " is outside [0, 1]");
  if (step.min_expert_tokens < 1)
    throw pare::ArgumentError("--min-expert-tokens " + std::to_string(step.min_expert_tokens) +
                              " is not positive");
}

}  // namespace cli
