#pragma once

#include "pare/kernels/layout/block_sparse.hpp"
