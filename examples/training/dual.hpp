#pragma once

#include <cmath>
#include <concepts>
#include <type_traits>

/// Numbers that carry a derivative: what is computed with them gives, beside its value, how it
/// changes along one direction. The training code, forwards and backwards, run with dual numbers
/// whose tangents are a direction v gives the gradient and, as its tangent, the exact product of
/// the Hessian with v. Source: Pearlmutter, "Fast exact multiplication by the Hessian", 1994
namespace training {

template <std::floating_point T>
struct Dual {
  T value{}, tangent{};

  constexpr Dual() = default;
  template <class U>
  requires std::is_arithmetic_v<U>
  constexpr Dual(U v) : value(static_cast<T>(v)) {}
  constexpr Dual(T v, T t) : value(v), tangent(t) {}

  constexpr Dual& operator+=(Dual b) { return *this = *this + b; }
  constexpr Dual& operator-=(Dual b) { return *this = *this - b; }
  constexpr Dual& operator*=(Dual b) { return *this = *this * b; }
  constexpr Dual& operator/=(Dual b) { return *this = *this / b; }

  friend constexpr Dual operator-(Dual a) { return {-a.value, -a.tangent}; }
  friend constexpr Dual operator+(Dual a, Dual b) {
    return {a.value + b.value, a.tangent + b.tangent};
  }
  friend constexpr Dual operator-(Dual a, Dual b) {
    return {a.value - b.value, a.tangent - b.tangent};
  }
  friend constexpr Dual operator*(Dual a, Dual b) {
    return {a.value * b.value, a.value * b.tangent + a.tangent * b.value};
  }
  friend constexpr Dual operator/(Dual a, Dual b) {
    const T q = a.value / b.value;
    return {q, (a.tangent - q * b.tangent) / b.value};
  }
  friend constexpr bool operator<(Dual a, Dual b) { return a.value < b.value; }
  friend constexpr bool operator>(Dual a, Dual b) { return a.value > b.value; }
};

template <class T>
[[nodiscard]] Dual<T> exp(Dual<T> x) {
  const T e = std::exp(x.value);
  return {e, e * x.tangent};
}
template <class T>
[[nodiscard]] Dual<T> log(Dual<T> x) {
  return {std::log(x.value), x.tangent / x.value};
}
template <class T>
[[nodiscard]] Dual<T> sqrt(Dual<T> x) {
  const T root = std::sqrt(x.value);
  return {root, x.tangent / (T{2} * root)};
}
template <class T>
[[nodiscard]] Dual<T> tanh(Dual<T> x) {
  const T t = std::tanh(x.value);
  return {t, (T{1} - t * t) * x.tangent};
}
template <class T>
[[nodiscard]] Dual<T> erf(Dual<T> x) {
  constexpr T slope_at_zero = T{1.1283791670955126};  // 2 / sqrt(pi)
  return {std::erf(x.value), slope_at_zero * std::exp(-x.value * x.value) * x.tangent};
}

/// What training computes with.
template <class S>
concept Scalar = std::same_as<S, float> || std::same_as<S, double> ||
    std::same_as<S, Dual<float>> || std::same_as<S, Dual<double>>;

/// A constant.
template <Scalar S>
[[nodiscard]] constexpr S scalar(double x) noexcept {
  return static_cast<S>(x);
}

/// The number itself.
[[nodiscard]] constexpr double value_of(double x) noexcept { return x; }
template <class T>
[[nodiscard]] constexpr double value_of(Dual<T> x) noexcept {
  return static_cast<double>(x.value);
}

}  // namespace training
