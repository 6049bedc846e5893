#include "cli/prune_recipe.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <type_traits>
#include <vector>

#include "cli/names.hpp"
#include "cli/shared_step_options.hpp"
#include "pare/pruning/scores/all.hpp"

namespace cli {
namespace {

using Json = nlohmann::json;
using Kind = OptionKind;

bool always(const PruneRecipe&) { return true; }

/// What asks for weights and their inputs alone.
template <class S>
constexpr bool is_without_gradients = std::is_same_v<typename S::Inputs, pare::Weights> ||
                                      std::is_same_v<typename S::Inputs, pare::WeightsAndInputs>;

/// What the program can give a score.
template <class S>
constexpr bool is_supplied = !std::is_same_v<typename S::Inputs, pare::TrainedScores>;

std::string supplied_scores() {
  std::string all;
  pare::for_each_type(pare::AllScores{}, [&]<class S>(pare::TypeTag<S>) {
    if (is_supplied<S>) all += (all.empty() ? "" : ", ") + std::string(S::name);
  });
  return all;
}

/// A whole positive number and what stands behind it.
std::optional<Index> take_number(std::string_view& text) {
  Index number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number < 1) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

struct Pattern {
  Index keep = 0, of = 0, block_rows = 1, block_cols = 1;
};

std::optional<Pattern> parse_pattern(std::string_view text) {
  if (text == "unstructured") return Pattern{};
  const bool is_blocks = text.starts_with("blocks-");
  if (is_blocks) text.remove_prefix(7);
  const auto first = take_number(text);
  if (!first || text.empty() || text.front() != (is_blocks ? 'x' : ':')) return std::nullopt;
  text.remove_prefix(1);
  const auto second = take_number(text);
  if (!second || !text.empty()) return std::nullopt;
  if (is_blocks) return Pattern{.block_rows = *first, .block_cols = *second};
  return Pattern{.keep = *first, .of = *second};
}

Pattern pattern_of(const PruneRecipe& recipe) {
  if (const auto pattern = parse_pattern(recipe.pattern)) return *pattern;
  throw pare::ArgumentError("unknown pattern \"" + recipe.pattern +
                            "\"; there are unstructured, N:M like 2:4 and blocks-RxC like "
                            "blocks-4x4");
}

bool is_n_of_m(const PruneRecipe& recipe) {
  const auto pattern = parse_pattern(recipe.pattern);
  return pattern && pattern->of != 0;
}

bool is_by_file(const PruneRecipe& recipe) {
  return recipe.allocate != "uniform" && recipe.allocate != "erk" && recipe.allocate != "owl";
}

std::vector<StepOption<PruneRecipe>> describe() {
  return {
      {.name = "score",
       .flag = "--score",
       .kind = Kind::text,
       .help = "which weights go, the lowest: " + supplied_scores(),
       .compared = false,
       .in_manifest = true,
       .has_effect = [](const PruneRecipe& r) { return r.uses_score(); },
       .where = "--update none and refit: the others choose by what a removal costs",
       .get = [](const PruneRecipe& r) { return Json(r.score); },
       .set = [](PruneRecipe& r, const Json& v) { r.score = v.get<std::string>(); }},
      {.name = "sparsity",
       .flag = "--sparsity",
       .kind = Kind::number,
       .help = "share of the weights that goes, from 0 to below 1",
       .compared = false,
       .in_manifest = true,
       .has_effect = [](const PruneRecipe& r) { return !is_n_of_m(r) && !is_by_file(r); },
       .where =
           "other patterns than N:M, which says the share itself, and other allocations than a "
           "file, which says each layer's",
       .get = [](const PruneRecipe& r) { return Json(r.sparsity); },
       .set = [](PruneRecipe& r, const Json& v) { r.sparsity = v.get<double>(); }},
      {.name = "pattern",
       .flag = "--pattern",
       .kind = Kind::text,
       .help = "unstructured, N:M (of M neighbours in a row N stay) or blocks-RxC",
       .compared = false,
       .in_manifest = true,
       .has_effect = always,
       .get = [](const PruneRecipe& r) { return Json(r.pattern); },
       .set = [](PruneRecipe& r, const Json& v) { r.pattern = v.get<std::string>(); }},
      {.name = "scope",
       .flag = "--scope",
       .kind = Kind::text,
       .help = "what competes: the weights of a row, of a matrix, or of all (global)",
       .default_note = "row for wanda, else matrix",
       .compared = false,
       .in_manifest = true,
       .has_effect = [](const PruneRecipe& r) { return r.uses_score() && !is_n_of_m(r); },
       .where = "--update none and refit, and other patterns than N:M",
       .get =
           [](const PruneRecipe& r) {
             return r.scope ? Json(name_of(prune_scope_names, *r.scope)) : Json();
           },
       .set =
           [](PruneRecipe& r, const Json& v) {
             r.scope = parse_name<PruneScope>(prune_scope_names, v.get<std::string>(), "scope");
           }},
      {.name = "update",
       .flag = "--update",
       .kind = Kind::text,
       .help = "what makes up for the weights that go: " + list_of(prune_update_names) +
               "; alps is the best and the slowest",
       .compared = false,
       .in_manifest = true,
       .has_effect = always,
       .get = [](const PruneRecipe& r) { return Json(name_of(prune_update_names, r.update)); },
       .set =
           [](PruneRecipe& r, const Json& v) {
             r.update = parse_name<PruneUpdate>(prune_update_names, v.get<std::string>(), "update");
           }},
      damping_option<PruneRecipe>(
          "of updates: fraction of the mean Hessian diagonal", false,
          [](const PruneRecipe& r) { return r.update != PruneUpdate::none; }, "updates"),
      {.name = "allocate",
       .flag = "--allocate",
       .kind = Kind::text,
       .help = "how layers share the sparsity: uniform, erk (large ones lose more), owl (blocks "
               "with more outliers lose less: for deep models, on a few blocks it is worse than "
               "uniform), or FILE.json with {layer: sparsity}",
       .compared = false,
       .in_manifest = false,
       .has_effect =
           [](const PruneRecipe& r) { return !is_n_of_m(r) && r.scope != PruneScope::global; },
       .where = "other patterns than N:M, which says each layer's share, and other scopes than "
                "global, which finds it",
       .get = [](const PruneRecipe& r) { return Json(r.allocate); },
       .set = [](PruneRecipe& r, const Json& v) { r.allocate = v.get<std::string>(); }},
      {.name = "owl_multiple",
       .flag = "--owl-multiple",
       .kind = Kind::number,
       .help = "of --allocate owl: scores above this multiple of their mean are outliers (M)",
       .compared = false,
       .in_manifest = true,
       .has_effect = [](const PruneRecipe& r) { return r.allocate == "owl"; },
       .where = "--allocate owl",
       .get = [](const PruneRecipe& r) { return Json(r.owl_multiple); },
       .set = [](PruneRecipe& r, const Json& v) { r.owl_multiple = v.get<double>(); }},
      {.name = "owl_lambda",
       .flag = "--owl-lambda",
       .kind = Kind::number,
       .help = "of --allocate owl: sparsities of blocks differ by up to twice this",
       .compared = false,
       .in_manifest = true,
       .has_effect = [](const PruneRecipe& r) { return r.allocate == "owl"; },
       .where = "--allocate owl",
       .get = [](const PruneRecipe& r) { return Json(r.owl_lambda); },
       .set = [](PruneRecipe& r, const Json& v) { r.owl_lambda = v.get<double>(); }},
      {.name = "layers",
       .flag = "--layers",
       .kind = Kind::text,
       .help = "prune only the layers whose whole names this regular expression matches",
       .default_note = "all of the blocks",
       .compared = false,
       .in_manifest = false,
       .has_effect = [](const PruneRecipe& r) { return !r.layers.empty(); },
       .get = [](const PruneRecipe& r) { return r.layers.empty() ? Json() : Json(r.layers); },
       .set = [](PruneRecipe& r, const Json& v) { r.layers = v.get<std::string>(); }},
      min_expert_tokens_option<PruneRecipe>(false, "what calibrates"),
      {.name = "save_as",
       .flag = "--save-as",
       .kind = Kind::text,
       .help = "huggingface: an ordinary model, zeros are stored; or pare: masks in their place, "
               "smaller files that pare alone reads",
       .compared = false,
       .in_manifest = true,
       .has_effect = always,
       .get = [](const PruneRecipe& r) { return Json(name_of(pruned_as_names, r.save_as)); },
       .set =
           [](PruneRecipe& r, const Json& v) {
             r.save_as = parse_name<PrunedAs>(pruned_as_names, v.get<std::string>(), "layout");
           }},
  };
}

}  // namespace

template <>
std::span<const StepOption<PruneRecipe>> options_of<PruneRecipe>() {
  static const std::vector<StepOption<PruneRecipe>> options = describe();
  return options;
}

PruneScope PruneRecipe::own_scope() const {
  const bool is_wanda = uses_score() && score == "wanda";
  return scope.value_or(is_wanda ? PruneScope::row : PruneScope::matrix);
}

bool PruneRecipe::scores_inputs() const {
  return uses_score() && pare::with_score(score, []<class S>(pare::TypeTag<S>) {
           return std::is_same_v<typename S::Inputs, pare::WeightsAndInputs>;
         });
}

bool PruneRecipe::scores_gradients() const {
  return uses_score() && pare::with_score(score, []<class S>(pare::TypeTag<S>) {
           return !is_without_gradients<S>;
         });
}

pare::Selection PruneRecipe::selection() const {
  const Pattern own = pattern_of(*this);
  const bool by_row = own_scope() == PruneScope::row;
  return {.sparsity = sparsity,
          .scope = by_row ? pare::SelectionScope::row : pare::SelectionScope::matrix,
          .keep = own.keep,
          .of = own.of,
          .block_rows = own.block_rows,
          .block_cols = own.block_cols,
          .rounding = by_row ? pare::CountRounding::down : pare::CountRounding::half_to_even};
}

std::string PruneRecipe::text() const {
  std::string share;
  if (is_by_file(*this)) {
    share = "by " + allocate;
  } else if (!is_n_of_m(*this)) {
    char percent[32];
    std::snprintf(percent, sizeof percent, "%g %%", 100.0 * sparsity);
    share = percent;
  }
  if (uses_score() && scope == PruneScope::global) share += " global";
  if (allocate != "uniform" && !is_by_file(*this)) share += " " + allocate;
  if (pattern != "unstructured") share += (share.empty() ? "" : " in ") + pattern;
  const std::string name(name_of(prune_update_names, update));
  return (update == PruneUpdate::none    ? score
          : update == PruneUpdate::refit ? score + "+" + name
                                         : name) +
         " " + share;
}

void PruneRecipe::validate() const {
  if (!(sparsity >= 0.0 && sparsity < 1.0))
    throw pare::ArgumentError("--sparsity " + std::to_string(sparsity) +
                              " is outside [0, 1): 0.5 removes half");
  const Pattern p = pattern_of(*this);
  if (p.keep > p.of)
    throw pare::ArgumentError("--pattern " + pattern +
                              " keeps more than there are: N:M means "
                              "that N of M stay");
  require_shared_values(*this);
  if (!(owl_multiple > 0.0 && std::isfinite(owl_multiple)))
    throw pare::ArgumentError("--owl-multiple " + std::to_string(owl_multiple) +
                              " is no positive number");
  if (!(owl_lambda >= 0.0 && owl_lambda <= 0.5))
    throw pare::ArgumentError("--owl-lambda " + std::to_string(owl_lambda) +
                              " is outside [0, 0.5]");
  if (allocate == "owl" && p.of != 0)
    throw pare::ArgumentError("--allocate owl does not combine with " + pattern +
                              ", which says each layer's share");
  const bool is_blocks = p.block_rows != 1 || p.block_cols != 1;
  if (!uses_score() && is_blocks)
    throw pare::ArgumentError("--update " + std::string(name_of(prune_update_names, update)) +
                              " has no blocks: use --update none, unstructured or N:M");
  if (uses_score() && score == "synflow")
    throw pare::ArgumentError(
        "--score synflow is of networks of linear, convolution, pooling and ReLU layers, which no "
        "transformer is: use " +
        supplied_scores());
  if (uses_score())
    pare::with_score(score, [&]<class S>(pare::TypeTag<S>) {
      if (!is_supplied<S>)
        throw pare::ArgumentError("--score " + score +
                                  " is what training learns: use pare train --masks " + score +
                                  ":0.7, or " + supplied_scores());
    });
  if (scope == PruneScope::global && scores_inputs())
    throw pare::ArgumentError("--scope global does not combine with " + score +
                              ": what enters a layer depends on what is removed before it; use "
                              "magnitude or lamp, or --scope matrix");
  if (scope == PruneScope::global && is_blocks)
    throw pare::ArgumentError("--scope global has no blocks: use --scope matrix");
}

std::vector<PruneRecipe> prune_panel() {
  std::vector<PruneRecipe> panel;
  for (const char* text : {"magnitude:0.5", "wanda:0.5", "sparsegpt:0.5", "alps:0.5", "wanda:2:4",
                           "sparsegpt:2:4", "alps:2:4", "sparsegpt:0.7", "alps:0.7"})
    panel.push_back(parse_prune(text));
  return panel;
}

void set_method(PruneRecipe& recipe, const std::string& method) {
  const auto known = std::find(prune_update_names.begin() + 1, prune_update_names.end(), method);
  if (known != prune_update_names.end())
    recipe.update = static_cast<PruneUpdate>(known - prune_update_names.begin());
  else
    recipe.score = method;
}

PruneRecipe parse_prune(const std::string& text) {
  const auto fail = [&](const std::string& why) {
    throw pare::ArgumentError("--prune " + text + ": " + why);
  };
  if (text.empty()) throw pare::ArgumentError("--prune: an item of the list is empty");
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos || colon + 1 == text.size())
    fail(
        "it is METHOD:PATTERN or METHOD:SPARSITY, like sparsegpt:2:4, alps:0.5 or "
        "magnitude:0.5:global");
  PruneRecipe recipe;
  const std::string method = text.substr(0, colon);
  std::string share = text.substr(colon + 1);
  if (const std::size_t last = share.rfind(':'); last != std::string::npos) {
    const auto scope = std::find(prune_scope_names.begin(), prune_scope_names.end(),
                                 std::string_view(share).substr(last + 1));
    if (scope != prune_scope_names.end()) {
      recipe.scope = static_cast<PruneScope>(scope - prune_scope_names.begin());
      share.resize(last);
    } else if (share.ends_with(":owl")) {
      recipe.allocate = "owl";
      share.resize(last);
    }
  }
  set_method(recipe, method);
  if (parse_pattern(share)) {
    recipe.pattern = share;
  } else {
    std::size_t end = 0;
    try {
      recipe.sparsity = std::stod(share, &end);
    } catch (const std::exception&) {
      end = 0;
    }
    if (end != share.size() || share.empty()) fail("\"" + share + "\" is no pattern and no share");
  }
  return recipe;
}

}  // namespace cli
