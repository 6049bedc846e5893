#pragma once

#include "pare/kernels/dispatch/lane_update.hpp"
