#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/forward_limits.hpp"
#include "engine/rope_parameters.hpp"

namespace engine {

/// Positions as a config.json says it: rope_parameters of transformers 5, or rope_theta,
/// rope_scaling and partial_rotary_factor of those before.
///
/// Errors    FormatError naming a field of another type than it has
[[nodiscard]] RopeParameters read_rope(const nlohmann::json& json, Index head_dim,
                                       Index max_positions, ForwardLimits& limits,
                                       std::vector<std::string>& notices);

}  // namespace engine
