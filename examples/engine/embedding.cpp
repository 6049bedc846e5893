#include "engine/embedding.hpp"

#include <algorithm>
#include <string>

#include "engine/elementwise.hpp"
#include "pare/core/error.hpp"

namespace engine {

pare::Matrix<float> Embedding::rows(std::span<const std::int32_t> ids, Index first,
                                    Index period) const {
  const Index last = first + std::min(period, std::ssize(ids));
  if (!positions.empty() && last > positions.rows())
    throw pare::ArgumentError("a text of " + std::to_string(last) + " tokens exceeds the " +
                              std::to_string(positions.rows()) + " positions of the model");
  pare::Matrix<float> x({std::ssize(ids), tokens.cols()});
  for (Index t = 0; t < x.rows(); ++t) {
    const Index id = ids[static_cast<std::size_t>(t)];
    if (id < 0 || id >= tokens.rows())
      throw pare::ArgumentError("token " + std::to_string(t) + " is " + std::to_string(id) +
                                ", outside the vocabulary of " + std::to_string(tokens.rows()));
    pare::copy(tokens.view().row(id), x.row(t));
    if (scale != 1.0f)
      for (Index i = 0; i < x.cols(); ++i) x(t, i) *= scale;
    if (!positions.empty()) add(&positions(first + t % period, 0), &x(t, 0), x.cols());
  }
  return x;
}

}  // namespace engine
