#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "pare/formats/type_list.hpp"

namespace pare {

/// A value of one of several types, as std::variant, for types so many that std::visit would take
/// most of the time to compile: `visit` is one switch. A value that was moved from is what its
/// type's move leaves.
template <class... Ts>
requires(std::is_nothrow_move_constructible_v<Ts>&&...) class OneOf {
  template <class T>
  static constexpr bool holds_type = (std::same_as<T, Ts> || ...);

 public:
  template <class T>
  requires(holds_type<T>) explicit OneOf(T value) noexcept : index_(index_of<T>()) {
    new (storage_) T(std::move(value));
  }

  OneOf(const OneOf& other) : index_(other.index_) {
    other.visit([&]<class T>(const T& value) { new (storage_) T(value); });
  }
  OneOf(OneOf&& other) noexcept : index_(other.index_) { take(other); }
  OneOf& operator=(const OneOf& other) { return *this = OneOf(other); }
  OneOf& operator=(OneOf&& other) noexcept {
    if (this == &other) return *this;
    destroy();
    index_ = other.index_;
    take(other);
    return *this;
  }
  ~OneOf() { destroy(); }

  /// Calls `f` with the value and returns its result, of one type for all.
  template <class F>
  decltype(auto) visit(F&& f) const {
    return with_type_at(types, index_, [&]<class T>(TypeTag<T>) -> decltype(auto) {
      return f(*std::launder(reinterpret_cast<const T*>(storage_)));
    });
  }

  /// The value, or null when it is of another type.
  template <class T>
  requires(holds_type<T>) [[nodiscard]] const T* get_if() const noexcept {
    return index_ == index_of<T>() ? std::launder(reinterpret_cast<const T*>(storage_)) : nullptr;
  }

  friend bool operator==(const OneOf& a, const OneOf& b) {
    return a.index_ == b.index_ &&
           a.visit([&]<class T>(const T& value) { return value == *b.template get_if<T>(); });
  }

 private:
  static constexpr TypeList<Ts...> types{};

  template <class T>
  [[nodiscard]] static constexpr std::size_t index_of() noexcept {
    constexpr std::array<bool, sizeof...(Ts)> same{std::same_as<T, Ts>...};
    return static_cast<std::size_t>(std::find(same.begin(), same.end(), true) - same.begin());
  }

  void take(OneOf& other) noexcept {
    with_type_at(types, index_, [&]<class T>(TypeTag<T>) {
      new (storage_) T(std::move(*std::launder(reinterpret_cast<T*>(other.storage_))));
    });
  }
  void destroy() noexcept {
    with_type_at(types, index_, [&]<class T>(TypeTag<T>) {
      std::destroy_at(std::launder(reinterpret_cast<T*>(storage_)));
    });
  }

  std::size_t index_;
  alignas(Ts...) std::byte storage_[std::max({sizeof(Ts)...})];
};

}  // namespace pare
