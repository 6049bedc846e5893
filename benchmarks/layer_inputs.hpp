#pragma once

#include <memory>

#include "harness/data.hpp"
#include "harness/row.hpp"
#include "harness/threads.hpp"
#include "pare/calibration/hessian.hpp"
#include "pare/core/workspace.hpp"

/// What rows of methods on a layer share.
namespace bench {

/// With the scratch memory that a caller keeps between layers.
[[nodiscard]] inline pare::Execution execution(const Row& row) {
  static pare::Workspace workspace;
  return {.parallel_for = parallel_for(row.threads), .workspace = &workspace};
}

/// Of the row's tokens.
[[nodiscard]] inline std::shared_ptr<pare::Hessian> hessian(const Row& row) {
  auto h = std::make_shared<pare::Hessian>(row.in);
  h->add(random_activations(row.tokens, row.in), execution(row));
  return h;
}

}  // namespace bench
