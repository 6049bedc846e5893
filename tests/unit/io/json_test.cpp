#include "pare/io/json.hpp"

#include <cstdint>
#include <string>

#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using Catch::Matchers::Contains;

TEST_CASE("JSON that cannot be read names the file and the offset", "[json]") {
  const test::TemporaryDirectory directory;
  const auto path = directory / "c.json";
  CHECK_THROWS_AS(read_json(path), IoError);
  test::write_text(path, "{\"a\":tru}");
  CHECK_THROWS_AS(read_json(path), FormatError);
  CHECK_THROWS_WITH(read_json(path), Contains("c.json: no valid JSON at offset 8"));
  test::write_text(path, std::string(1'000'000, '['));
  CHECK_THROWS_WITH(read_json(path), Contains("nested more than 100 levels"));
  test::write_text(path, "[1e999]");
  CHECK_THROWS_WITH(read_json(path), Contains("number out of range"));
}

TEST_CASE("JSON is written whole or not at all", "[json]") {
  const test::TemporaryDirectory directory;
  const nlohmann::json value{{"a", {1, 2}}, {"b", nullptr}};
  write_json(directory / "c.json", value);
  CHECK(read_json(directory / "c.json") == value);
  CHECK_THROWS_AS(write_json(directory / "d.json", "\xff"), ArgumentError);
  CHECK(directory.entries() == std::set<std::string>{"c.json"});
}

TEST_CASE("fields are read with their type checked", "[json]") {
  const nlohmann::json json = parse_json(
      R"({"n":null,"b":true,"i":-3,"big":18446744073709551615,"f":1.5,"s":"x","far":3000000000})");
  CHECK(field_as<bool>(json, {"b"}) == true);
  CHECK(field_as<int>(json, {"i"}) == -3);
  CHECK(field_as<double>(json, {"i"}) == -3.0);
  CHECK(field_as<std::int64_t>(json, {"far"}) == 3'000'000'000);
  CHECK(field_as<std::string>(json, {"s"}) == "x");
  CHECK_FALSE(field_as<bool>(json, {"n"}).has_value());
  CHECK_FALSE(field_as<bool>(json, {"none"}).has_value());
  CHECK(field_as<int>(json, {"n", "none", "i"}) == -3);
  CHECK_THROWS_WITH(field_as<bool>(json, {"i"}), "field \"i\" is not a boolean");
  CHECK_THROWS_WITH(field_as<int>(json, {"f"}), "field \"f\" is not an integer");
  CHECK_THROWS_WITH(field_as<int>(json, {"far"}), "field \"far\" is not in range");
  CHECK_THROWS_WITH(field_as<std::int64_t>(json, {"big"}), "field \"big\" is not in range");
  CHECK_THROWS_WITH(field_as<double>(json, {"s"}), "field \"s\" is not a number");
  CHECK_THROWS_WITH(field_as<std::string>(json, {"b"}), "field \"b\" is not a string");
  CHECK_THROWS_AS(field_as<bool>(nlohmann::json::array(), {"b"}), FormatError);
}
