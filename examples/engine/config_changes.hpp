#pragma once

#include <nlohmann/json.hpp>
#include <span>

#include "engine/config.hpp"

/// A smaller model's config.json.
namespace engine {

/// What a model's configuration says once its blocks have these descriptions; heads and widths are
/// those of the first block that has any.
[[nodiscard]] ModelConfig resize(ModelConfig config, std::vector<BlockDescription> blocks);

/// The config.json of `now`, made from that of `before`: fields that say nothing of what changed
/// are left alone, lists with an entry for each block lose those of blocks that are gone. `kept`
/// are the blocks of `before` that are left, in order.
///
/// Readers must find what is stored: the result is read, and describes `now`.
///
/// Errors    FormatError naming what the family's configuration cannot say: heads of a size of
///           their own, a bias of some layers, blocks of different sizes
[[nodiscard]] nlohmann::json config_json(const nlohmann::json& json, const ModelConfig& before,
                                         const ModelConfig& now, std::span<const Index> kept);

}  // namespace engine
