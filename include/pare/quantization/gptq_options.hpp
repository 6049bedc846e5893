#pragma once

#include <optional>

#include "pare/core/index.hpp"
#include "pare/formats/block_shape.hpp"
#include "pare/quantization/block_parameters.hpp"
#include "pare/solvers/obs_factor.hpp"
#include "pare/solvers/obs_mask.hpp"

namespace pare {

/// What happened on the way.
struct GptqReport {
  double damping = 0.0;         ///< the fraction of the mean diagonal that was added in the end
  int attempts = 0;             ///< factorizations: more than one when the damping had to grow
  Index dead_inputs = 0;        ///< inputs that were always zero; their weights are zeroed
  double loss = 0.0;            ///< tr(dW (H + damping) dWᵀ) by the sweep's own account
  bool scales_widened = false;  ///< a scale did not fit its type: all are kept in F32
  Index scales_raised = 0;      ///< scales that ScaleUnderflow::smallest kept from being 0
};

struct GptqOptions {
  /// Columns that share parameters; -1 is the whole row.
  Index group_size = -1;
  /// Blocks that are more than a part of a row; instead of a group size. All their parameters are
  /// found before the sweep.
  std::optional<BlockShape> blocks{};
  /// Unset: default_scale_type.
  std::optional<ScaleType> scale_type{};
  RangeOptions range{};
  /// Fraction of the Hessian's mean diagonal that is added to the diagonal.
  double damping = 0.01;
  /// Visit the columns by falling diagonal of the Hessian.
  bool act_order = false;
  /// Find all group parameters on the original weights, before the sweep.
  bool static_groups = false;
  /// Columns between lazy updates. Part of the result: a group's range is found on the weights as
  /// updated by previous blocks only.
  Index block_size = 128;
  GptqReport* report = nullptr;
  /// Prunes in the same sweep, which then makes up for both errors: zeros of the mask get the code
  /// of zero. Null: nothing is pruned.
  ObsMask* mask = nullptr;

  /// What the factor of the Hessian depends on.
  [[nodiscard]] ObsFactorOptions factor() const noexcept {
    return {.damping = damping, .act_order = act_order};
  }
};

}  // namespace pare
