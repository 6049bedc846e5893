#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "pare/core/error.hpp"

namespace cli {

/// What a value of an option is.
enum class OptionKind : std::uint8_t { text, integer, number, flag, rules };

/// Throws ArgumentError naming the field when a value is of another kind.
void require_kind(const std::string& field, const nlohmann::json& value, OptionKind kind);

/// An option of a step of recipes, described once: the command line, its help, recipe files,
/// manifests and the refusal of options without effect all come from this. `Step` holds the values.
template <class Step>
struct StepOption {
  std::string_view name;  ///< of the field in recipe files and manifests
  std::string_view flag;  ///< on the command line
  OptionKind kind;
  std::string help;
  /// Of help where there is no value that always is the default.
  std::string_view default_note{};
  /// An option of `pare compare` too, whose rows say the rest themselves.
  bool compared;
  /// Part of a run's manifest under "options". What is not is seen in its "layers".
  bool in_manifest;
  /// Where the option has an effect, and how to say so.
  bool (*has_effect)(const Step&);
  std::string_view where{};
  /// The value, in the JSON type of `kind`; null when it is not set.
  nlohmann::json (*get)(const Step&);
  /// Takes a value of that type. Throws ArgumentError for one that cannot be.
  void (*set)(Step&, const nlohmann::json&);

  /// True for a flag that is set unless turned off.
  [[nodiscard]] bool is_negative() const { return flag.starts_with("--no-"); }
};

/// The options of a step: one specialization for each.
template <class Step>
[[nodiscard]] std::span<const StepOption<Step>> options_of();

/// A step from values by field name, each of the type of its option's kind; fields that are not
/// given have their default. Throws ArgumentError naming a field that there is none of, of another
/// type or with a value that cannot be.
template <class Step>
[[nodiscard]] Step step_from_values(const nlohmann::json& values) {
  Step step;
  std::string names;
  for (const auto& option : options_of<Step>())
    names += (names.empty() ? "" : ", ") + std::string(option.name);
  for (const auto& item : values.items()) {
    const StepOption<Step>* found = nullptr;
    for (const auto& option : options_of<Step>())
      if (option.name == item.key()) found = &option;
    if (!found)
      throw pare::ArgumentError("unknown field \"" + item.key() + "\"; there are " + names);
    require_kind(item.key(), item.value(), found->kind);
    found->set(step, item.value());
  }
  return step;
}

/// The values of all options that have an effect: what makes the step again, whatever defaults
/// become.
template <class Step>
[[nodiscard]] nlohmann::json values_of_step(const Step& step) {
  nlohmann::json values = nlohmann::json::object();
  for (const auto& option : options_of<Step>())
    if (nlohmann::json value = option.get(step); option.has_effect(step) && !value.is_null())
      values[std::string(option.name)] = std::move(value);
  return values;
}

/// The values that a result depends on, of all options that are part of manifests.
template <class Step>
[[nodiscard]] nlohmann::json manifest_of_step(const Step& step) {
  nlohmann::json values = nlohmann::json::object();
  for (const auto& option : options_of<Step>())
    if (option.in_manifest) values[std::string(option.name)] = option.get(step);
  return values;
}

/// Refuses options that are not as by default and that this step does not read.
template <class Step>
void refuse_options_without_effect(const Step& step) {
  const Step defaults;
  for (const auto& option : options_of<Step>())
    if (!option.has_effect(step) && option.get(step) != option.get(defaults))
      throw pare::ArgumentError(std::string(option.flag) + " has no effect here: it belongs to " +
                                std::string(option.where));
}

}  // namespace cli
