#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "training/operations/product.hpp"

namespace training {

/// y_t += scale table[rows_t]
///
/// Shapes    y (tokens, width) and a row of the table (rows, width) for each token, which must be
///           there; rows contiguous
template <Scalar S>
void add_embedding(std::type_identity_t<pare::MatrixView<const S>> table,
                   std::span<const std::int32_t> rows, S scale, pare::MatrixView<S> y,
                   const pare::Execution& execution) {
  execution.parallel_for(y.rows(), [&](Index t) {
    const S* const row = &table(rows[static_cast<std::size_t>(t)], 0);
    for (Index j = 0; j < y.cols(); ++j) y(t, j) += row[j] * scale;
  });
}

/// dtable[rows_t] += scale dy_t. Tokens share rows of the table: columns are cut, not tokens.
template <Scalar S>
void add_embedding_backward(std::type_identity_t<pare::MatrixView<const S>> dy,
                            std::span<const std::int32_t> rows, S scale, pare::MatrixView<S> dtable,
                            const pare::Execution& execution) {
  execution.parallel_for(pare::ceil_div(dtable.cols(), columns_of_a_task), [&](Index task) {
    const Index begin = task * columns_of_a_task;
    const Index end = std::min(dtable.cols(), begin + columns_of_a_task);
    for (Index t = 0; t < dy.rows(); ++t)
      for (Index j = begin; j < end; ++j)
        dtable(rows[static_cast<std::size_t>(t)], j) += dy(t, j) * scale;
  });
}

}  // namespace training
