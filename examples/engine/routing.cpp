#include "engine/routing.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/elementwise.hpp"

namespace engine {

std::vector<std::vector<Route>> route(const ExpertsDescription& experts,
                                      const pare::Matrix<float>& router,
                                      pare::MatrixView<const float> x) {
  std::vector<std::vector<Route>> routes(static_cast<std::size_t>(experts.count));
  std::vector<float> shares(routes.size());
  std::vector<std::size_t> order(routes.size());
  for (Index t = 0; t < x.rows(); ++t) {
    std::fill(shares.begin(), shares.end(), 0.0f);
    add_dot_products(&x(t, 0), router.data(), router.cols(), router.rows(), router.cols(),
                     shares.data());
    softmax_row(shares.data(), experts.count, experts.count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto end = order.begin() + experts.chosen;
    std::partial_sort(order.begin(), end, order.end(), [&](std::size_t a, std::size_t b) {
      return shares[a] != shares[b] ? shares[a] > shares[b] : a < b;
    });
    float sum = 0.0f;
    std::for_each(order.begin(), end, [&](std::size_t e) { sum += shares[e]; });
    std::for_each(order.begin(), end, [&](std::size_t e) {
      routes[e].push_back({t, experts.normalized ? shares[e] / sum : shares[e]});
    });
  }
  return routes;
}

void scale_by_gate(pare::MatrixView<const float> x, const pare::Matrix<float>& gate,
                   pare::MatrixView<float> y) {
  for (Index t = 0; t < y.rows(); ++t) {
    float sum = 0.0f;
    add_dot_products(&x(t, 0), gate.data(), gate.cols(), 1, gate.cols(), &sum);
    const float share = 1.0f / (1.0f + std::exp(-sum));
    for (Index i = 0; i < y.cols(); ++i) y(t, i) *= share;
  }
}

}  // namespace engine
