#pragma once

#include "pare/solvers/inverse_factor.hpp"
#include "pare/solvers/obs_sweep.hpp"
