#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "pare/core/error.hpp"
#include "pare/io/atomic_file.hpp"
#include "pare/io/mapped_file.hpp"
#include "pare/io/stored_tensor.hpp"

namespace pare {

/// Parses JSON text. Throws FormatError naming the offset, also for nesting beyond 100 levels.
[[nodiscard]] inline nlohmann::json parse_json(std::string_view text) {
  // Values are copied and freed recursively: a file must not choose the depth of our stack.
  const auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > 100) throw FormatError("JSON is nested more than 100 levels deep");
    return true;
  };
  try {
    return nlohmann::json::parse(text.begin(), text.end(), shallow);
  } catch (const nlohmann::json::parse_error& e) {
    throw FormatError("no valid JSON at offset " + std::to_string(e.byte == 0 ? 0 : e.byte - 1));
  } catch (const nlohmann::json::exception&) {
    throw FormatError("JSON holds a number out of range");
  }
}

/// Throws IoError or FormatError naming the file.
[[nodiscard]] inline nlohmann::json read_json(const std::filesystem::path& path) {
  const MappedFile file(path);
  return with_context(path.string(), [&] {
    return detail::name_other_kinds(file.bytes(), "a JSON text", [&] {
      return parse_json({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
    });
  });
}

/// Writes indented JSON atomically. Throws IoError, and ArgumentError for text that is not UTF-8.
inline void write_json(const std::filesystem::path& path, const nlohmann::json& value) {
  std::string text;
  try {
    text = value.dump(2);
  } catch (const nlohmann::json::exception&) {
    throw ArgumentError(path.string() + ": a text to be written is not valid UTF-8");
  }
  write_file(path, text + "\n");
}

/// The value under the first of `keys` that is present and not null, or nullptr.
/// Throws FormatError when `object` is none.
[[nodiscard]] inline const nlohmann::json* find_field(
    const nlohmann::json& object, std::initializer_list<std::string_view> keys) {
  if (!object.is_object()) throw FormatError("a JSON object is needed");
  for (const std::string_view key : keys)
    if (const auto found = object.find(std::string(key)); found != object.end())
      if (!found->is_null()) return &*found;
  return nullptr;
}

/// The field under the first of `keys` that is present and not null, as bool, integer, double or
/// std::string. Throws FormatError naming the key when it has another type or does not fit.
template <class T>
[[nodiscard]] std::optional<T> field_as(const nlohmann::json& object,
                                        std::initializer_list<std::string_view> keys) {
  const nlohmann::json* value = find_field(object, keys);
  if (!value) return std::nullopt;
  const auto fail = [&](std::string_view needed) {
    throw FormatError("field " + detail::in_quotes(*keys.begin()) + " is not " +
                      std::string(needed));
  };
  if constexpr (std::same_as<T, bool>) {
    if (!value->is_boolean()) fail("a boolean");
    return value->get<bool>();
  } else if constexpr (std::integral<T>) {
    if (!value->is_number_integer()) fail("an integer");
    const auto wide = value->get<std::int64_t>();
    if (wide != static_cast<std::int64_t>(static_cast<T>(wide)) ||
        (wide < 0 && value->is_number_unsigned()))
      fail("in range");
    return static_cast<T>(wide);
  } else if constexpr (std::floating_point<T>) {
    if (!value->is_number()) fail("a number");
    return value->get<T>();
  } else {
    static_assert(std::same_as<T, std::string>);
    if (!value->is_string()) fail("a string");
    return value->get<std::string>();
  }
}

}  // namespace pare
