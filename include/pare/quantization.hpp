#pragma once

#include "pare/quantization/awq.hpp"
#include "pare/quantization/awq_clip.hpp"
#include "pare/quantization/block_parameters.hpp"
#include "pare/quantization/fake_quantize.hpp"
#include "pare/quantization/fold.hpp"
#include "pare/quantization/gptq.hpp"
#include "pare/quantization/gptq_options.hpp"
#include "pare/quantization/learned_scale.hpp"
#include "pare/quantization/obq.hpp"
#include "pare/quantization/quantize.hpp"
#include "pare/quantization/smoothquant.hpp"
