#include "pare/solvers/smallest_keys.hpp"

#include <limits>
#include <vector>

#include "pare/solvers/n_of_m.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

/// Which of the keys go, by sorting.
template <class Key>
std::vector<bool> taken_by_sorting(const std::vector<Key>& keys, Index count) {
  std::vector<std::size_t> order(keys.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
  std::vector<bool> taken(keys.size());
  for (Index k = 0; k < count; ++k) taken[order[static_cast<std::size_t>(k)]] = true;
  return taken;
}

template <class Key>
std::vector<bool> taken(const std::vector<Key>& keys, detail::SmallestKeys<Key> smallest) {
  std::vector<bool> result;
  for (const Key key : keys) result.push_back(smallest.take(key));
  return result;
}

}  // namespace

TEMPLATE_TEST_CASE("the smallest keys are those that sorting finds, ties included", "", float,
                   double) {
  using Key = detail::order_key_of<TestType>;
  // Few are sorted, many are counted in pieces.
  for (const Index n : {1, 7, 300, 5000})
    for (const bool ties : {false, true}) {
      const Matrix<float> values =
          ties ? test::random_integers(1, n, -2, 2, 5) : test::random_matrix(1, n, 6);
      std::vector<Key> keys;
      for (Index j = 0; j < n; ++j) keys.push_back(detail::order_key(TestType{values(0, j)}));
      for (const Index count : {Index{1}, (n + 1) / 2, n - n / 7, n}) {
        CAPTURE(n, ties, count);
        const std::vector<bool> expected = taken_by_sorting(keys, count);
        CHECK(taken(keys, detail::smallest_keys(std::span<const Key>(keys), count)) == expected);
        if constexpr (sizeof(Key) == 4) {
          const auto key = [&](Index j) { return keys[static_cast<std::size_t>(j)]; };
          auto smallest = detail::smallest_keys(n, count, key);
          CHECK(taken(keys, smallest) == expected);
          Mask mask(1, n);
          detail::write_row_without(smallest, key, 0, mask);
          for (Index j = 0; j < n; ++j) CHECK(mask(0, j) != expected[static_cast<std::size_t>(j)]);
        }
      }
    }
}

TEST_CASE("keys are ordered as numbers and magnitudes are") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> ascending{-infinity, -2.0f, -1.0e-40f, 0.0f, 1.0e-40f, 2.0f, infinity};
  for (std::size_t k = 1; k < ascending.size(); ++k)
    CHECK(detail::order_key(ascending[k - 1]) < detail::order_key(ascending[k]));
  CHECK(detail::order_key(-0.0f) == detail::order_key(0.0f));
  CHECK(detail::order_key(-infinity) > detail::removed_key<std::uint32_t>);
  CHECK(detail::magnitude_key(-2.0f) == detail::magnitude_key(2.0f));
  CHECK(detail::magnitude_key(-2.0f) > detail::magnitude_key(1.0e-40f));
}

TEST_CASE("of a group the largest keys stay, of equal ones the first") {
  const std::vector<std::uint32_t> keys{3, 1, 3, 2, 5, 5, 5, 5, 0, 0, 1, 0};
  const auto key = [&](Index j) { return keys[static_cast<std::size_t>(j)]; };
  struct Case {
    Index keep, of;
    std::vector<int> kept;
  };
  for (const Case& c : {Case{2, 4, {1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0}},
                        Case{1, 3, {1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0}},
                        Case{0, 2, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
                        Case{5, 12, {1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0}}}) {
    CAPTURE(c.keep, c.of);
    Mask mask(1, 12);
    detail::write_n_of_m_row(c.keep, c.of, key, 0, mask);
    for (Index j = 0; j < 12; ++j) CHECK(mask(0, j) == (c.kept[static_cast<std::size_t>(j)] != 0));
  }
}
