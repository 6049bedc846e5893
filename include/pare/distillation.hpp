#pragma once

#include "pare/distillation/loss.hpp"
#include "pare/distillation/samples.hpp"
#include "pare/distillation/softmax.hpp"
