#pragma once

#include "pare/solvers/damped_inverse.hpp"
#include "pare/solvers/growing_damping.hpp"
#include "pare/solvers/inverse_factor.hpp"
#include "pare/solvers/n_of_m.hpp"
#include "pare/solvers/obs_factor.hpp"
#include "pare/solvers/obs_mask.hpp"
#include "pare/solvers/obs_row.hpp"
#include "pare/solvers/obs_sweep.hpp"
#include "pare/solvers/removed_count.hpp"
#include "pare/solvers/smallest_keys.hpp"
#include "pare/solvers/symmetric_inverse.hpp"
