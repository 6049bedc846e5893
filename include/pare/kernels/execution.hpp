#pragma once

#include <cstdint>

#include "pare/core/parallel.hpp"
#include "pare/core/workspace.hpp"
#include "pare/kernels/kernel_name.hpp"
#include "pare/kernels/matmul_tuning.hpp"

namespace pare {

/// How an operation runs: threads, scratch memory and choice of kernel, all optional.
struct Execution {
  /// Serial unless given: see OpenMpFor, or wrap your own pool.
  ParallelFor parallel_for{};
  /// Scratch kept between calls; without it a call allocates what it needs.
  Workspace* workspace = nullptr;
  /// `automatic` takes the best kernel of this CPU; a forced one that the CPU lacks throws.
  KernelName force = KernelName::automatic;
  MatmulTuning tuning{};
};

}  // namespace pare
