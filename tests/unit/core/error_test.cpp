#include "pare/core/error.hpp"

#include <stdexcept>
#include <string>
#include <type_traits>
#include <typeinfo>

#include "support/catch.hpp"

using namespace pare;

TEMPLATE_TEST_CASE("context is put in front and the type of the error kept", "[core]", ShapeError,
                   ArgumentError, FormatError, IoError, NumericError, Error) {
  try {
    with_context("model.safetensors", [] {
      with_context("layer 3", []() -> void { throw TestType("weight holds NaN"); });
    });
    FAIL("nothing was thrown");
  } catch (const Error& e) {
    CHECK(typeid(e) == typeid(TestType));
    CHECK(std::string(e.what()) == "model.safetensors: layer 3: weight holds NaN");
  }
}

TEST_CASE("context passes results and other exceptions through", "[core]") {
  int value = 1;
  int& same = with_context("unused", [&]() -> int& { return value; });
  CHECK(&same == &value);
  CHECK_THROWS_AS(with_context("unused", []() -> int { throw std::logic_error("mine"); }),
                  std::logic_error);
}

TEST_CASE("every error of the library is a std::runtime_error", "[core]") {
  static_assert(std::is_base_of_v<std::runtime_error, Error>);
  CHECK_THROWS_AS(throw IoError("disk full"), std::runtime_error);
}
