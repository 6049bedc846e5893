#pragma once

#include <vector>

#include "engine/block_description.hpp"
#include "pare/core/tensor.hpp"

namespace engine {

/// A token that goes to an expert, and what its output there is multiplied with.
struct Route {
  Index token;
  float weight;
};

/// For each expert the tokens that the router sends there, in order: of softmax(router x) the
/// largest `chosen`, of equal ones the first.
[[nodiscard]] std::vector<std::vector<Route>> route(const ExpertsDescription& experts,
                                                    const pare::Matrix<float>& router,
                                                    pare::MatrixView<const float> x);

/// y *= sigmoid(gate x), row by row.
void scale_by_gate(pare::MatrixView<const float> x, const pare::Matrix<float>& gate,
                   pare::MatrixView<float> y);

}  // namespace engine
