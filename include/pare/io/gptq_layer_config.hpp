#pragma once

#include <regex>
#include <string>

#include "pare/io/gptq_config.hpp"

namespace pare {

/// The settings of one layer: those of the checkpoint, changed by the rule of `dynamic` that
/// matches its name. Patterns match at the beginning of the name, as GPTQModel matches them.
/// `skipped` layers keep the settings; they are not stored quantized.
///
/// Errors    FormatError for a pattern that is no regular expression (ECMAScript), and when several
///           rules match with different settings, for the order that decides is not kept in JSON
[[nodiscard]] inline GptqConfig gptq_layer_config(const GptqConfig& config,
                                                  const std::string& layer) {
  const GptqOverride* found = nullptr;
  for (const GptqOverride& rule : config.dynamic) {
    bool matches = false;
    try {
      matches = std::regex_search(layer, std::regex(rule.pattern),
                                  std::regex_constants::match_continuous);
    } catch (const std::regex_error&) {
      throw FormatError("field \"dynamic\": " + detail::in_quotes(rule.pattern) +
                        " is not a regular expression that can be read");
    }
    if (!matches || rule.skipped) continue;
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
