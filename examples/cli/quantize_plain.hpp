#pragma once

#include "cli/options.hpp"
#include "cli/output_directory.hpp"
#include "cli/plain_model.hpp"

namespace cli {

/// Rounds matrices of a model whose family is not known, by rules; everything else is copied as it
/// is, config.json too. The settings of the layers go into quantize_config.json.
///
/// Errors    ArgumentError for what needs to run the model, and for rules as ever
void quantize_plain(const QuantizeCommand& options, const PlainModel& model, const OutputPath& out,
                    const pare::Execution& execution);

}  // namespace cli
