#pragma once

#include "pare/kernels/layout/two_four.hpp"
