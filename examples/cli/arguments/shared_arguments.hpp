#pragma once

#include <CLI/CLI.hpp>

#include <filesystem>

#include "cli/options.hpp"

namespace cli {

// Arguments that several commands have.

/// MODEL and --threads; returns the former.
CLI::Option* add_model(CLI::App& command, ModelOptions& model);
void add_map(CLI::App& command, ModelOptions& model);
void add_window(CLI::App& command, ModelOptions& model);
/// --text, --tokens and --inputs to evaluate on.
void add_text(CLI::App& command, TextOptions& text);
void add_no_speed(CLI::App& command, bool& speed);
/// --calib, and how much of it.
void add_calibration(CLI::App& command, CalibrationOptions& calibration);
/// --out, which has to be given, and --force.
void add_output(CLI::App& command, std::filesystem::path& out, bool& force);

}  // namespace cli
