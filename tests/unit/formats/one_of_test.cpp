#include "pare/formats/one_of.hpp"

#include <memory>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace pare;

namespace {

/// Counts the values there are.
struct Counted {
  std::shared_ptr<int> count;
  explicit Counted(std::shared_ptr<int> c) : count(std::move(c)) { ++*count; }
  Counted(const Counted& other) : count(other.count) { ++*count; }
  Counted(Counted&& other) noexcept : count(other.count) { ++*count; }
  ~Counted() { --*count; }
  friend bool operator==(const Counted&, const Counted&) { return true; }
};

using Value = OneOf<int, std::string, std::vector<int>, Counted>;

}  // namespace

TEST_CASE("one of several types is told by its type", "[formats]") {
  const Value number(7), text(std::string("seven"));
  CHECK(*number.get_if<int>() == 7);
  CHECK(number.get_if<std::string>() == nullptr);
  CHECK(*text.get_if<std::string>() == "seven");
  const auto size = [](const Value& value) {
    return value.visit([]<class T>(const T&) { return sizeof(T); });
  };
  CHECK(size(number) == sizeof(int));
  CHECK(size(text) == sizeof(std::string));
  CHECK(number == Value(7));
  CHECK_FALSE(number == Value(8));
  CHECK_FALSE(number == text);
}

TEST_CASE("one of several types is copied, moved and destroyed as its type", "[formats]") {
  const auto count = std::make_shared<int>(0);
  {
    Value value{Counted(count)};
    CHECK(*count == 1);
    Value copy(value), moved(std::move(copy));
    CHECK(*count == 3);
    moved = Value(std::vector<int>{1, 2});
    CHECK(*count == 2);
    copy = moved;
    CHECK(copy == Value(std::vector<int>{1, 2}));
    CHECK(*count == 1);
    const Value& self = value;
    value = self;
    CHECK(*count == 1);
    copy = std::move(value);
    value = Value(1);
    CHECK(*count == 1);
  }
  CHECK(*count == 0);
}
