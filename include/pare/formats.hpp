#pragma once

#include "pare/formats/all.hpp"
#include "pare/formats/any_quantized_matrix.hpp"
#include "pare/formats/bit_packing.hpp"
#include "pare/formats/format.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/nf4.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/formats/rounding.hpp"
#include "pare/formats/scale.hpp"
#include "pare/formats/type_list.hpp"
#include "pare/formats/uint.hpp"
