#include "pare/core/float_arithmetic.hpp"

#include <bit>
#include <cstdint>

#include "pare/core/random.hpp"
#include "support/catch.hpp"

namespace {

TEST_CASE("quotients by one divisor are divisions rounded once") {
  pare::Random random(1);
  for (int i = 0; i < 300; ++i) {
    // Exponents that keep every quotient normal.
    const auto any = [&] {
      return std::bit_cast<float>(static_cast<std::uint32_t>(random() >> 41) |
                                  (96u + random.below(60)) << 23);
    };
    const float divisor = any();
    const pare::Quotients quotients(divisor);
    for (int k = 0; k < 300; ++k) {
      const float x = any();
      CAPTURE(x, divisor);
      REQUIRE(quotients(x) == x / divisor);
      REQUIRE(pare::quotient(-x, divisor) == -(x / divisor));
    }
  }
}

TEST_CASE("quotients are constants where their operands are") {
  STATIC_REQUIRE(pare::quotient(1.0f, 4.0f) == 0.25f);
  STATIC_REQUIRE(pare::rounded(1.5) == 1.5);
}

}  // namespace
