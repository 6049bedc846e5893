#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "tokenizer/json_fields.hpp"

namespace tokenizer {

/// A kind of component: what "type" says in a tokenizer.json, and what reads the rest.
template <class Component>
struct ComponentType {
  std::string_view name;
  std::unique_ptr<Component> (*read)(const nlohmann::json& description);
};

/// Reads a component of one of `types`; `role` is what messages call it. Throws FormatError naming
/// the type where none is meant.
template <class Component>
[[nodiscard]] std::unique_ptr<Component> read_component(
    std::span<const ComponentType<Component>> types, std::string_view role,
    const nlohmann::json& description) {
  const auto name =
      pare::with_context(role, [&] { return required_as<std::string>(description, "type"); });
  for (const auto& type : types)
    if (type.name == name)
      return pare::with_context(std::string(role) + " " + in_quotes(name),
                                [&] { return type.read(description); });
  throw pare::FormatError("the " + std::string(role) + " " + in_quotes(name) + " is not known");
}

/// Refuses more than a hundred components in the lists named `key`, however nested: each reads the
/// text once.
inline void require_few_components(const nlohmann::json& description, const char* key) {
  std::size_t count = 0;
  const auto visit = [&](const auto& self, const nlohmann::json& part) -> void {
    const nlohmann::json* parts = part.is_object() ? pare::find_field(part, {key}) : nullptr;
    if (!parts || !parts->is_array()) return;
    count += parts->size();
    if (count > 100)
      throw pare::FormatError("more than 100 " + std::string(key) + " are not supported");
    for (const auto& inner : *parts) self(self, inner);
  };
  visit(visit, description);
}

}  // namespace tokenizer
