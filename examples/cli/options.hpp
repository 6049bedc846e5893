#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/recipe_file.hpp"
#include "cli/runtime.hpp"
#include "cli/train_recipe.hpp"

namespace cli {

/// Options that several commands share; empty means "not given".
struct ModelOptions {
  std::filesystem::path model;
  /// Unset: all cores.
  std::optional<int> threads{};
  /// Tokens per window; 0 is the model's context, at most 512.
  Index window = 0;
  /// Packed files are mapped instead of loaded.
  bool map = false;

  /// Throws ArgumentError for a number of threads below 1.
  [[nodiscard]] Runtime runtime() const;
};

struct TextOptions {
  std::filesystem::path text{}, tokens{};
  std::filesystem::path inputs{};  // of encoders
};

struct CalibrationOptions {
  std::filesystem::path text, tokens;
  std::filesystem::path inputs;  // of encoders
  Index windows = 0;
  Index stride = 1;  // of texts
};

struct CompareOptions {
  ModelOptions model;
  TextOptions text;
  CalibrationOptions calibration;
  Recipe base;                   ///< of all rows; its act_order is for those that have one
  std::string methods, formats;  // comma-separated
  std::string prune;             // the same, "panel", or empty
  std::filesystem::path report;
  bool speed = true;  // measured too
};

struct QuantizeCommand {
  ModelOptions model;
  CalibrationOptions calibration;
  Recipe recipe;
  std::optional<PruneRecipe> prune{};  // in the same pass
  std::filesystem::path recipe_file;   // where the recipe is from, if from a file
  std::filesystem::path out;
  bool force = false;
};

struct PruneCommand {
  ModelOptions model;
  CalibrationOptions calibration;
  PruneRecipe recipe;
  std::optional<StructureRecipe> structure{};  // instead
  std::filesystem::path recipe_file;           // where the recipe is from, if from a file
  std::filesystem::path out;
  bool force = false;
};

struct SensitivityCommand {
  ModelOptions model;
  TextOptions text;
  CalibrationOptions calibration;
  std::string method = "wanda";  // a score or an update
  std::string sparsity;          // comma-separated; empty: a panel
  std::string pattern = "unstructured";
  std::string layers;  // a regular expression; empty: all of the blocks
  /// Unset: so many that they stay below a number of tokens; 0 is all.
  std::optional<Index> eval_windows{};
  std::filesystem::path report, plot;
};

struct TrainCommand {
  ModelOptions model;
  std::filesystem::path data, tokens;  // text, or ids
  std::vector<std::filesystem::path> teachers;
  TrainRecipe recipe;
  std::filesystem::path out;
  bool force = false;
  std::filesystem::path log, teacher_cache;
  std::filesystem::path recipe_file;
  std::filesystem::path plan;  ///< stages in place of the recipe, see train_plan.hpp
  Index save_every = 50, print_every = 10;
  /// Steps between looks at a text that is not trained on; 0 is never, 0 windows are all.
  Index eval_every = 0, eval_windows = 32;
  std::filesystem::path eval_text;
};

struct PackCommand {
  ModelOptions model;
  std::filesystem::path out;
  bool force = false;
};

struct EvalCommand {
  ModelOptions model;
  TextOptions text;
  std::filesystem::path reference, report;
  std::filesystem::path logits;  // of the first window
  bool speed = true;             // measured too
};

struct BenchCommand {
  ModelOptions model;
  /// Unset: 512, or what the context has room for.
  std::optional<Index> prompt{};
  Index tokens = 32;
};

struct GenerateCommand {
  ModelOptions model;
  std::string prompt;
  std::filesystem::path tokens;  // instead of the prompt
  Index length = 200;
  double temperature = 0.0;
  std::uint64_t seed = 1;
};

struct LogitsCommand {
  ModelOptions model;
  std::filesystem::path inputs, tokens;  // one of the two
  std::filesystem::path out;
  bool hidden = false, decode = false;
};

struct TokenizeCommand {
  std::filesystem::path model;
  std::filesystem::path text, pair;  // to tokens
  std::filesystem::path ids;         // to text
  std::filesystem::path out;         // else standard output
  bool plain = false, skip_special = false;
};

struct InspectCommand {
  std::filesystem::path target;
};

struct MakeCheckpointCommand {
  std::filesystem::path out;
  Index layers = 22, hidden = 2048, intermediate = 5632, heads = 32, kv_heads = 4, vocab = 32000;
  std::string dtype = "bf16";
  std::uint64_t seed = 1;
  bool force = false;
};

void compare(const CompareOptions& options);
void quantize(const QuantizeCommand& options);
void prune(const PruneCommand& options);
void train(const TrainCommand& options);
void sensitivity(const SensitivityCommand& options);
void pack(const PackCommand& options);
void eval(const EvalCommand& options);
void bench(const BenchCommand& options);
void generate(const GenerateCommand& options);
void logits(const LogitsCommand& options);
void tokenize(const TokenizeCommand& options);
void inspect(const InspectCommand& options);
void make_checkpoint(const MakeCheckpointCommand& options);

}  // namespace cli
