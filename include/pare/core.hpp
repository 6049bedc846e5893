#pragma once

#include "pare/core/config.hpp"
#include "pare/core/error.hpp"
#include "pare/core/finite.hpp"
#include "pare/core/float16.hpp"
#include "pare/core/function_ref.hpp"
#include "pare/core/huge_page_memory.hpp"
#include "pare/core/index.hpp"
#include "pare/core/parallel.hpp"
#include "pare/core/random.hpp"
#include "pare/core/tensor.hpp"
#include "pare/core/tensor_view.hpp"
#include "pare/core/workspace.hpp"
