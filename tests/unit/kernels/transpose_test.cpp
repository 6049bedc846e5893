#include "pare/kernels/dispatch/transpose.hpp"

#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "pare/core/float16.hpp"
#include "pare/core/random.hpp"
#include "pare/kernels/dispatch/bf16_pairs.hpp"
#include "support/catch.hpp"

using namespace pare;

namespace {

constexpr Index counts[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 14};
constexpr Index widths[] = {0, 1, 4, 15, 16, 17, 32, 33, 67, 128};

std::vector<std::int8_t> random_bytes(Index count, Random& random) {
  std::vector<std::int8_t> bytes(static_cast<std::size_t>(count));
  for (auto& byte : bytes) byte = static_cast<std::int8_t>(random.below(256));
  return bytes;
}

std::vector<std::int32_t> random_order(Index count, Random& random) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t j = order.size(); j > 1; --j)
    std::swap(order[j - 1], order[random.below(static_cast<std::uint32_t>(j))]);
  return order;
}

}  // namespace

TEST_CASE("transposed and gathered rows are those of the plain loops, and nothing beyond",
          "[transpose]") {
  Random random(1);
  for (const Index count : counts)
    for (const Index columns : widths) {
      CAPTURE(count, columns);
      const Index stride = columns + 3;
      const std::vector<std::int8_t> rows =
          random_bytes(4 * stride * count + kernels::quad_slack_bytes, random);
      const std::vector<std::int32_t> order = random_order(columns, random);
      const std::vector<std::int8_t> before = random_bytes(4 * columns * count + 1, random);
      std::vector<std::int8_t> expected = before, out = before;

      kernels::reference::transpose_words(rows.data(), 4 * stride, count, columns, expected.data());
      kernels::transpose_words(rows.data(), 4 * stride, count, columns, out.data());
      REQUIRE(out == expected);
      kernels::reference::gather_words(rows.data(), order.data(), columns, count, expected.data());
      kernels::gather_words(rows.data(), order.data(), columns, count, out.data());
      REQUIRE(out == expected);
      kernels::reference::transpose_bytes(rows.data(), stride, count, columns, expected.data());
      kernels::transpose_bytes(rows.data(), stride, count, columns, out.data());
      REQUIRE(out == expected);
      kernels::reference::gather_quads(rows.data(), order.data(), columns / 4, count,
                                       expected.data());
      kernels::gather_quads(rows.data(), order.data(), columns / 4, count, out.data());
      REQUIRE(out == expected);
    }
}

TEST_CASE("rounding to bf16 pairs is that of BFloat16", "[transpose]") {
  Random random(2);
  for (const Index count : counts)
    for (const Index quads : {0, 1, 2, 9}) {
      CAPTURE(count, quads);
      std::vector<float> x(static_cast<std::size_t>(4 * quads * count + 1));
      for (float& value : x) {
        const auto bits = static_cast<std::uint32_t>(random());
        std::memcpy(&value, &bits, sizeof(value));
      }
      if (quads > 0) {
        x[0] = std::numeric_limits<float>::infinity();
        const std::uint32_t signaling = 0xff800001;
        std::memcpy(&x[1], &signaling, sizeof(signaling));
        x[2] = -0.0f;
      }
      std::vector<float> rounded = x, pairs = x;
      kernels::round_to_bf16(rounded.data(), 4 * quads * count);
      kernels::pack_bf16_pairs(pairs.data(), quads, count);
      for (Index i = 0; i < 4 * quads * count; ++i) {
        std::uint32_t bits;
        std::memcpy(&bits, &rounded[static_cast<std::size_t>(i)], sizeof(bits));
        REQUIRE(bits == std::uint32_t{BFloat16(x[static_cast<std::size_t>(i)]).bits} << 16);
      }
      for (Index quad = 0; quad < quads; ++quad)
        for (Index k = 0; k < 4; ++k)
          for (Index t = 0; t < count; ++t) {
            std::uint16_t pair[2];
            std::memcpy(pair, &pairs[static_cast<std::size_t>((2 * quad + k % 2) * count + t)],
                        sizeof(pair));
            const float value = x[static_cast<std::size_t>((4 * quad + k) * count + t)];
            REQUIRE(pair[k / 2] == BFloat16(value).bits);
          }
      CHECK(std::memcmp(&rounded.back(), &x.back(), sizeof(float)) == 0);
    }
}
