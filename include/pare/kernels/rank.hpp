#pragma once

#include "pare/kernels/dispatch/rank.hpp"
