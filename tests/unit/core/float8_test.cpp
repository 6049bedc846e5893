#include "pare/core/float8.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "pare/io/safetensors_reader.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

static_assert(static_cast<float>(E4M3(448.0f)) == 448.0f);
static_assert(static_cast<float>(E8M0(0.25f)) == 0.25f);

}  // namespace

TEST_CASE("E4M3 agrees with ml_dtypes both ways", "[core]") {
  const auto file =
      SafetensorsReader::open(std::string(PARE_TEST_DATA_DIR) + "/elements.safetensors");
  const auto x = file.read_vector("x"), decoded = file.read_vector("e4m3.decoded");
  const auto codes = elements_as<std::uint8_t>(file.info("e4m3.codes"));
  REQUIRE(codes.size() == static_cast<std::size_t>(x.size()));
  for (Index i = 0; i < x.size(); ++i) {
    CAPTURE(x[i]);
    REQUIRE(E4M3(x[i]).bits == codes[static_cast<std::size_t>(i)]);
  }
  for (int code = 0; code < 256; ++code) {
    const E4M3 number = E4M3::from_bits(static_cast<std::uint8_t>(code));
    const float value = static_cast<float>(number);
    CAPTURE(code);
    if ((code & 0x7f) == 0x7f) {
      REQUIRE(std::isnan(value));
      REQUIRE((E4M3(value).bits & 0x7f) == 0x7f);
    } else {
      REQUIRE(std::bit_cast<std::uint32_t>(value) == std::bit_cast<std::uint32_t>(decoded[code]));
      REQUIRE(E4M3(value) == number);
    }
  }
  constexpr float infinity = std::numeric_limits<float>::infinity();
  CHECK(static_cast<float>(E4M3(infinity)) == 448.0f);
  CHECK(static_cast<float>(E4M3(-infinity)) == -448.0f);
}

TEST_CASE("between neighbours E4M3 takes the nearer, of two the even", "[core]") {
  for (int code = 0; code < 0x7e; ++code) {
    const auto of = [](int bits) {
      return static_cast<float>(E4M3::from_bits(static_cast<std::uint8_t>(bits)));
    };
    const float middle = (of(code) + of(code + 1)) / 2.0f;  // exact: 5 bits
    CAPTURE(code, middle);
    REQUIRE(E4M3(middle).bits == code + code % 2);
    REQUIRE(E4M3(std::nextafter(middle, 0.0f)).bits == code);
    REQUIRE(E4M3(std::nextafter(middle, 500.0f)).bits == code + 1);
    REQUIRE(E4M3(-middle).bits == (0x80 | (code + code % 2)));
  }
}

TEST_CASE("E8M0 holds the powers of two from 2^-127 to 2^127", "[core]") {
  for (int exponent = -127; exponent <= 127; ++exponent) {
    const float power = std::ldexp(1.0f, exponent);
    CAPTURE(exponent);
    REQUIRE(E8M0(power).bits == exponent + 127);
    REQUIRE(static_cast<float>(E8M0::from_bits(static_cast<std::uint8_t>(exponent + 127))) ==
            power);
    if (exponent == 127) break;
    REQUIRE(E8M0(1.5f * power).bits == exponent + 128);
    REQUIRE(E8M0(std::nextafter(1.5f * power, 0.0f)).bits == exponent + 127);
  }
  constexpr float infinity = std::numeric_limits<float>::infinity();
  constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
  CHECK(E8M0(std::numeric_limits<float>::max()).bits == 254);
  CHECK(E8M0(std::numeric_limits<float>::denorm_min()).bits == 0);
  for (const float bad : {0.0f, -0.0f, -1.0f, infinity, -infinity, not_a_number})
    CHECK(E8M0(bad).bits == 255);
  CHECK(std::isnan(static_cast<float>(E8M0::from_bits(255))));
}
