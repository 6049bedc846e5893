#pragma once

#include "pare/kernels/dispatch/lane_round.hpp"
