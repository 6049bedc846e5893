#pragma once

/// Everything that needs neither Eigen, OpenMP nor CUDA; compile times prefer a family's header.

#include "pare/calibration.hpp"
#include "pare/core.hpp"
#include "pare/distillation.hpp"
#include "pare/formats.hpp"
#include "pare/io.hpp"
#include "pare/kernels.hpp"
#include "pare/pruning.hpp"
#include "pare/quantization.hpp"
#include "pare/solvers.hpp"
#include "pare/version.hpp"
