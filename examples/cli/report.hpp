#pragma once

#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/input_paths.hpp"
#include "cli/speed.hpp"

namespace cli {

/// One row of a comparison: what was done and what was measured.
struct ReportRow {
  std::string method, format;
  Index group_size = -1;
  bool act_order = false;
  double bits_per_weight = 0.0;
  std::optional<double> sparsity{};  ///< of pruned layers: the share of zeros
  Index weight_bytes = 0;
  Index parameters = 0;                                 ///< of all tensors, for the ratios
  std::optional<double> bits_per_byte{}, perplexity{};  ///< of decoders
  std::optional<double> accuracy{};                     ///< of classifiers
  std::optional<double> kl{}, top1{};                   ///< of models with logits
  std::optional<double> cosine{};                       ///< of other encoders
  std::optional<Speed> speed{};                         ///< empty: not measured
  double quantize_seconds = 0.0;
};

/// The keys of a report that say how fast a model runs, the same in every command's.
void add_speed(nlohmann::json& json, const Speed& speed);

/// What a run's numbers depend on: machine, compiler, flags, kernels, threads, seed, version, date.
[[nodiscard]] nlohmann::json run_context(int threads, const std::vector<std::string>& kernels);

/// In the metadata of safetensors that hold what a model answers: these may be written over.
inline constexpr const char* answers_key = "pare_answers";

/// Refuses, before the work, the file that `option` names for results if its name ends in none of
/// `extensions` (if there are any) or it is one that is read or of a model (ArgumentError), or it
/// cannot be written (IoError).
void require_report_path(const std::string& option, const std::filesystem::path& path,
                         std::initializer_list<const char*> extensions, const InputPaths& inputs);

/// Writes `rows`, objects with the same keys each, beside what else is in `more` as JSON, or alone
/// as CSV, atomically. Does nothing without a path.
void write_rows(const std::filesystem::path& path, const nlohmann::json& rows, nlohmann::json more);
/// The same of a comparison's, with the context of the run.
void write_report(const std::filesystem::path& path, const std::vector<ReportRow>& rows,
                  const nlohmann::json& context);

}  // namespace cli
