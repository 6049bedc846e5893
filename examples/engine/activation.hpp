#pragma once

#include "engine/block_description.hpp"

namespace engine {

/// x = f(x)
void apply_activation(Activation activation, float* x, Index count);

/// gate = f(gate) * up
void apply_gate(Activation activation, float* gate, const float* up, Index count);

}  // namespace engine
