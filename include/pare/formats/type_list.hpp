#pragma once

#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "pare/core/error.hpp"

namespace pare {

template <class... Ts>
struct TypeList {};

/// Passes a type as a value: `[]<class F>(TypeTag<F>) {...}`.
template <class T>
struct TypeTag {
  using type = T;
};

template <template <class...> class Target, template <class> class Wrap, class List>
struct ApplyTypeList;
template <template <class...> class Target, template <class> class Wrap, class... Ts>
struct ApplyTypeList<Target, Wrap, TypeList<Ts...>> {
  using type = Target<Wrap<Ts>...>;
};
/// Target<Wrap<T1>, Wrap<T2>, ...>
template <template <class...> class Target, template <class> class Wrap, class List>
using apply_type_list = typename ApplyTypeList<Target, Wrap, List>::type;

/// The types of one list and then those of the other.
template <class... Ts, class... Us>
[[nodiscard]] constexpr TypeList<Ts..., Us...> join(TypeList<Ts...>, TypeList<Us...>) noexcept {
  return {};
}

template <class T, class... Ts>
[[nodiscard]] constexpr bool contains(TypeList<Ts...>) noexcept {
  return (std::is_same_v<T, Ts> || ...);
}

/// Calls `f(TypeTag<T>)` for each type, in order.
template <class... Ts, class F>
void for_each_type(TypeList<Ts...>, F&& f) {
  (f(TypeTag<Ts>{}), ...);
}

/// Names of a list's types: "int2, int3, ...".
template <class... Ts>
[[nodiscard]] std::string names(TypeList<Ts...>) {
  std::string text;
  ((text += (text.empty() ? "" : ", ") + std::string(Ts::name)), ...);
  return text;
}

/// Calls `f(TypeTag<T>)` for the type at `index`, which is in the list, and returns its result, of
/// one type for all.
template <class... Ts, class F>
decltype(auto) with_type_at(TypeList<Ts...>, std::size_t index, F&& f) {
  static_assert(sizeof...(Ts) <= 32);
#define PARE_TYPE_AT(i)                                                \
  case i:                                                              \
    if constexpr (i < sizeof...(Ts))                                   \
      return f(TypeTag<std::tuple_element_t<i, std::tuple<Ts...>>>{}); \
    else                                                               \
      break;
#define PARE_TYPES_AT(i) PARE_TYPE_AT(i) PARE_TYPE_AT(i + 1) PARE_TYPE_AT(i + 2) PARE_TYPE_AT(i + 3)
  switch (index) {
    PARE_TYPES_AT(0)
    PARE_TYPES_AT(4)
    PARE_TYPES_AT(8)
    PARE_TYPES_AT(12)
    PARE_TYPES_AT(16)
    PARE_TYPES_AT(20)
    PARE_TYPES_AT(24)
    PARE_TYPES_AT(28)
    default:
      break;
  }
#undef PARE_TYPES_AT
#undef PARE_TYPE_AT
  std::abort();  // there is no such type
}

/// Calls `f(TypeTag<T>)` for the type of the list that is called `name`, and returns its result
/// (one type for all). Throws ArgumentError listing the names when none is; `what` they name is for
/// that.
template <class... Ts, class F>
decltype(auto) with_named(TypeList<Ts...> list, std::string_view what, std::string_view name,
                          F&& f) {
  constexpr std::string_view all[]{Ts::name...};
  std::size_t index = 0;
  while (index < sizeof...(Ts) && all[index] != name) ++index;
  if (index == sizeof...(Ts))
    throw ArgumentError("no " + std::string(what) + " is named \"" + std::string(name) +
                        "\"; there are " + names(list));
  return with_type_at(list, index, f);
}

}  // namespace pare
