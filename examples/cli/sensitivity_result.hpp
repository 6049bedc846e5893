#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pare/core/index.hpp"

namespace cli {

using pare::Index;

/// What a model is after one of its layers was pruned; of the float model `kl` is 0.
struct Damage {
  double sparsity = 0.0;  ///< of the layer: the share of zeros
  double kl = 0.0;        ///< of the whole model, in nats
  std::optional<double> top1{};
  std::optional<double> bits_per_byte{}, perplexity{};  ///< of decoders
  std::optional<double> accuracy{};                     ///< of classifiers
};

struct LayerSensitivity {
  std::string layer;
  std::string kind;  ///< the name within its block: "mlp.down_proj"
  Index block = 0, weights = 0;
  std::vector<Damage> damage{};  ///< as many as there are shares
};

/// How much each layer of a model suffers alone.
struct Sensitivity {
  std::string method;               ///< "wanda", "alps in blocks-4x4"
  std::vector<std::string> shares;  ///< "30 %" or "2:4"
  std::string unit;                 ///< what KL is the mean of: "byte", "token"
  Damage float_model{};
  std::vector<LayerSensitivity> layers{};  ///< in the order of the model
};

/// An object for each layer and share.
[[nodiscard]] nlohmann::json rows_of(const Sensitivity& result);

}  // namespace cli
