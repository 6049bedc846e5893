#pragma once

#include <array>
#include <string>
#include <string_view>

#include "pare/core/error.hpp"

namespace cli {

/// "a, b, c", as messages and help list names.
template <std::size_t N>
[[nodiscard]] std::string list_of(const std::array<std::string_view, N>& names) {
  std::string all;
  for (const std::string_view name : names) all += (all.empty() ? "" : ", ") + std::string(name);
  return all;
}

/// Position of `text` in `names`. Throws ArgumentError "unknown WHAT ...; there are ...".
template <class Enum, std::size_t N>
[[nodiscard]] Enum parse_name(const std::array<std::string_view, N>& names, std::string_view text,
                              std::string_view what) {
  for (std::size_t i = 0; i < N; ++i)
    if (names[i] == text) return static_cast<Enum>(i);
  throw pare::ArgumentError("unknown " + std::string(what) + " \"" + std::string(text) +
                            "\"; there are " + list_of(names));
}

template <class Enum, std::size_t N>
[[nodiscard]] constexpr std::string_view name_of(const std::array<std::string_view, N>& names,
                                                 Enum value) {
  return names[static_cast<std::size_t>(value)];
}

}  // namespace cli
