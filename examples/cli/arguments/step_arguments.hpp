#pragma once

#include <CLI/CLI.hpp>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/rules.hpp"
#include "cli/step_option.hpp"

namespace cli {

/// Options of a step that the command line gives, as recipe files have them: parsed after CLI11, so
/// that errors list what would work.
template <class Step>
class StepArguments {
 public:
  /// Adds the options to a command; for `pare compare` those that its rows do not choose.
  void add(CLI::App& command, bool for_compare = false) {
    for (const auto& option : options_of<Step>())
      if (option.compared || !for_compare) add(command, option);
  }

  /// Options of another step that the command may do instead; those that both have say so.
  template <class Other>
  void add_instead(CLI::App& command) {
    for (const auto& option : options_of<Other>()) {
      const std::string flag(option.flag);
      CLI::Option* const shared = command.get_option_no_throw(flag);
      if (!shared)
        add(command, option);
      else if (shared->get_description().find(option.help) == std::string::npos)
        shared->description(shared->get_description() + "; " + option.help);
    }
  }

  [[nodiscard]] const nlohmann::json& values() const { return values_; }
  /// The options that were given, for messages: "--method, --format"; empty when there is none.
  [[nodiscard]] const std::string& given() const { return given_; }

 private:
  template <class Other>
  void add(CLI::App& command, const StepOption<Other>& option) {
    using Kind = OptionKind;
    const std::string flag(option.flag);
    std::string help = option.help;
    if (!option.default_note.empty())
      help += " (default: " + std::string(option.default_note) + ")";
    const auto take = [this, &option](nlohmann::json value) {
      given_ += (given_.empty() ? "" : ", ") + std::string(option.flag);
      values_[std::string(option.name)] = std::move(value);
    };
    CLI::Option* added = nullptr;
    switch (option.kind) {
      case Kind::flag:
        command.add_flag_callback(
            flag, [take, &option] { take(!option.is_negative()); }, help);
        return;
      case Kind::integer:
        added = command.add_option_function<Index>(flag, take, help)->type_name("N");
        break;
      case Kind::number:
        added = command.add_option_function<double>(flag, take, help)->type_name("X");
        break;
      case Kind::text:
        added = command.add_option_function<std::string>(flag, take, help)->type_name("TEXT");
        break;
      case Kind::rules:
        command
            .add_option_function<std::vector<std::string>>(
                flag, [take](const std::vector<std::string>& rules) { take(rules_of(rules)); },
                help)
            ->type_name("RULE")
            ->allow_extra_args(false)
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
        return;
    }
    if (const auto value = option.get(Other{}); option.default_note.empty() && !value.is_null())
      added->default_str(value.is_string() ? value.template get<std::string>() : value.dump());
  }

  static nlohmann::json rules_of(const std::vector<std::string>& texts) {
    nlohmann::json rules = nlohmann::json::array();
    for (const std::string& text : texts) {
      const Rule rule = parse_rule(text);
      rules.push_back({{"match", rule.match}, {"format", rule.format.format}});
      if (rule.format.group_size) rules.back()["group_size"] = *rule.format.group_size;
    }
    return rules;
  }

  nlohmann::json values_ = nlohmann::json::object();
  std::string given_;
};

}  // namespace cli
