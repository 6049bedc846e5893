#pragma once

#include <string>

#include "pare/io/gptq_config.hpp"

namespace pare {

/// The settings of one layer: those of the checkpoint, changed by the rule of `dynamic` that
/// matches its name. `skipped` layers keep the settings; they are not stored quantized.
///
/// `matches(pattern, layer)` says whether a regular expression matches at the beginning of a name,
/// as GPTQModel applies it: with std::regex_search and match_continuous, say, which is the caller's
/// for what its header costs.
/// Errors    FormatError when several rules match with different settings, for the order that
///           decides is not kept in JSON; what `matches` throws
template <class Matches>
[[nodiscard]] GptqConfig gptq_layer_config(const GptqConfig& config, const std::string& layer,
                                           Matches&& matches) {
  const GptqOverride* found = nullptr;
  for (const GptqOverride& rule : config.dynamic) {
    if (rule.skipped || !matches(rule.pattern, layer)) continue;
    const auto settings = [](GptqOverride r) {
      r.pattern.clear();
      return r;
    };
    if (found && settings(*found) != settings(rule))
      throw FormatError("field \"dynamic\": " + detail::in_quotes(found->pattern) + " and " +
                        detail::in_quotes(rule.pattern) + " both match layer " +
                        detail::in_quotes(layer) + " with different settings");
    found = &rule;
  }
  GptqConfig result = config;
  result.dynamic.clear();
  if (!found) return result;
  if (found->bits) result.bits = *found->bits;
  if (found->group_size) result.group_size = *found->group_size;
  if (found->sym) result.sym = *found->sym;
  if (found->desc_act) result.desc_act = *found->desc_act;
  return result;
}

}  // namespace pare
