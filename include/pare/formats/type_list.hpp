#pragma once

#include <string>
#include <string_view>

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

namespace detail {

template <class T, class... Rest, class F>
decltype(auto) with_named(TypeList<T, Rest...>, std::string_view what, std::string_view name,
                          std::string_view all, F&& f) {
  if (name == T::name) return f(TypeTag<T>{});
  if constexpr (sizeof...(Rest) > 0)
    return with_named(TypeList<Rest...>{}, what, name, all, f);
  else
    throw ArgumentError("no " + std::string(what) + " is named \"" + std::string(name) +
                        "\"; there are " + std::string(all));
}

}  // namespace detail

/// Calls `f(TypeTag<T>)` for the type of the list that is called `name`, and returns its result
/// (one type for all). Throws ArgumentError listing the names when none is; `what` they name is for
/// that.
template <class... Ts, class F>
decltype(auto) with_named(TypeList<Ts...> list, std::string_view what, std::string_view name,
                          F&& f) {
  return detail::with_named(list, what, name, names(list), f);
}

}  // namespace pare
