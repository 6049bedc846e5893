#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace pare {

/// Base of everything the library throws.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Extents that do not fit each other or the operation.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// An option or argument outside its documented range.
class ArgumentError : public Error {
 public:
  using Error::Error;
};

/// A malformed file: the message names offset or key, and the reason.
class FormatError : public Error {
 public:
  using Error::Error;
};

/// The operating system refused to read or write.
class IoError : public Error {
 public:
  using Error::Error;
};

/// NaN or infinity where a finite number is needed, or a factorization that cannot succeed.
class NumericError : public Error {
 public:
  using Error::Error;
};

/// Runs `f`; a `pare::Error` thrown inside leaves with the same type and "context: " in front.
///
/// The library reports what it knows (index, shape, offset); callers add names with this.
template <class F>
decltype(auto) with_context(std::string_view context, F&& f) {
  const auto prefixed = [&](const Error& e) { return std::string(context) + ": " + e.what(); };
  try {
    return std::forward<F>(f)();
  } catch (const ShapeError& e) {
    throw ShapeError(prefixed(e));
  } catch (const ArgumentError& e) {
    throw ArgumentError(prefixed(e));
  } catch (const FormatError& e) {
    throw FormatError(prefixed(e));
  } catch (const IoError& e) {
    throw IoError(prefixed(e));
  } catch (const NumericError& e) {
    throw NumericError(prefixed(e));
  } catch (const Error& e) {
    throw Error(prefixed(e));
  }
}

}  // namespace pare
