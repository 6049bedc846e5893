#pragma once

#include <span>
#include <string_view>

#include "engine/config.hpp"
#include "engine/config_fields.hpp"

/// Families of models: each file here says what the fields and tensors of one mean, as data that
/// the engine follows. Nothing outside this folder knows a family by name. A new one is a file, a
/// line in list.cpp and a row in tests/example/families_test.cpp.
namespace engine {

struct Family {
  std::string_view model_type;
  /// What the names of its classes begin with, where config.json has no model_type: "Llama" of
  /// LlamaForCausalLM.
  std::string_view class_prefix;
  /// Fills what parse_config has not: everything but `family`.
  void (*describe)(const ConfigFields& fields, ModelConfig& config);
};

[[nodiscard]] std::span<const Family* const> families();

}  // namespace engine
