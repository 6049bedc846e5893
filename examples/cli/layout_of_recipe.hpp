#pragma once

#include "cli/pipeline/file_layout.hpp"
#include "cli/recipe.hpp"

namespace cli {

/// The layout that a recipe saves layers in; that of other tools' files says which are skipped.
[[nodiscard]] FileLayout layout_of(const Recipe& recipe, const LayerFormats& formats,
                                   const std::string& output_layer);

}  // namespace cli
