#pragma once

#include "pare/core/scratch.hpp"
#include "pare/core/tensor_view.hpp"
#include "pare/kernels/execution.hpp"

namespace engine {

using pare::Index;

/// A matrix in a workspace, without initial contents. Made and destroyed like a stack.
class ScratchMatrix {
 public:
  /// Without a workspace it allocates.
  ScratchMatrix(pare::Workspace* workspace, Index rows, Index cols)
      : scratch_(workspace, pare::kernels::Scratch::bytes<float>(rows * cols)),
        view_(scratch_.take<float>(rows * cols), {rows, cols}) {}
  ScratchMatrix(const pare::Execution& execution, Index rows, Index cols)
      : ScratchMatrix(execution.workspace, rows, cols) {}

  [[nodiscard]] pare::MatrixView<float> view() const noexcept { return view_; }
  operator pare::MatrixView<float>() const noexcept { return view_; }
  operator pare::MatrixView<const float>() const noexcept { return view_; }

 private:
  pare::kernels::Scratch scratch_;
  pare::MatrixView<float> view_;
};

}  // namespace engine
