#pragma once

#include <string>

#include "engine/config.hpp"
#include "engine/config_fields.hpp"
#include "engine/rope_parameters.hpp"

namespace engine {

/// What a family means where its config.json says nothing of positions, and how it spells some
/// fields.
struct RopeDefaults {
  float theta = 10000.0f;
  float rotated_part = 1.0f;
  bool may_be_partial = false;  ///< rotating another part than all is known to the family
  const char* theta_key = "rope_theta";
  const char* part_key = "partial_rotary_factor";
  bool neighbours = false;  ///< see RopeParameters
};

/// Positions as a config.json says it: rope_parameters of transformers 5, or rope_theta,
/// rope_scaling and partial_rotary_factor of those before. `config` has the sizes; what cannot be
/// computed and what is odd is added to it.
///
/// Errors    FormatError naming a field of another type than it has
[[nodiscard]] RopeParameters read_rope(const ConfigFields& fields, const RopeDefaults& defaults,
                                       ModelConfig& config);

/// Where rope_parameters has an object for each type of layer: the one of `type`, which is there
/// when it is said to be.
[[nodiscard]] bool has_ropes_by_type(const ConfigFields& fields);
[[nodiscard]] RopeParameters read_rope_of_type(const ConfigFields& fields, const char* type,
                                               const RopeDefaults& defaults, ModelConfig& config);

}  // namespace engine
