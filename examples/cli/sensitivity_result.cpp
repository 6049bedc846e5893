#include "cli/sensitivity_result.hpp"

namespace cli {

nlohmann::json rows_of(const Sensitivity& result) {
  nlohmann::json rows = nlohmann::json::array();
  for (const LayerSensitivity& layer : result.layers)
    for (std::size_t i = 0; i < layer.damage.size(); ++i) {
      const Damage& damage = layer.damage[i];
      nlohmann::json row{{"layer", layer.layer},    {"block", layer.block},
                         {"kind", layer.kind},      {"weights", layer.weights},
                         {"method", result.method}, {"share", result.shares[i]},
                         {"kl", damage.kl},         {"sparsity", damage.sparsity}};
      const auto add = [&](const char* key, const std::optional<double>& value) {
        if (value) row[key] = *value;
      };
      add("top1", damage.top1);
      add("bits_per_byte", damage.bits_per_byte);
      add("perplexity", damage.perplexity);
      add("accuracy", damage.accuracy);
      rows.push_back(std::move(row));
    }
  return rows;
}

}  // namespace cli
