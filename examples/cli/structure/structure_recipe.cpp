#include "cli/structure/structure_recipe.hpp"

#include <algorithm>
#include <cstdio>
#include <span>
#include <vector>

#include "cli/comma_list.hpp"
#include "cli/names.hpp"
#include "cli/shared_step_options.hpp"

namespace cli {
namespace {

using Json = nlohmann::json;
using Kind = OptionKind;
using Score = StructureScore;

/// The scores of a structure, its default first.
std::span<const Score> scores_of(Structure structure) {
  static constexpr Score of_channels[]{Score::flap, Score::wanda_sp, Score::magnitude,
                                       Score::taylor, Score::random};
  static constexpr Score of_experts[]{Score::reap, Score::random};
  static constexpr Score of_blocks[]{Score::influence, Score::angular, Score::magnitude,
                                     Score::random};
  if (structure == Structure::experts) return of_experts;
  if (structure == Structure::blocks) return of_blocks;
  return of_channels;
}

std::string list_of_scores(Structure structure) {
  std::string all;
  for (const Score score : scores_of(structure))
    all += (all.empty() ? "" : ", ") + std::string(name_of(structure_score_names, score));
  return all;
}

bool always(const StructureRecipe&) { return true; }
bool chooses(const StructureRecipe& r) { return r.replay.empty(); }

std::vector<StepOption<StructureRecipe>> describe() {
  return {
      {.name = "structure",
       .flag = "--structure",
       .kind = Kind::text,
       .help = "take out whole parts, so that the model is a smaller one: " +
               list_of(structure_names) + " (heads with their keys and values)",
       .default_note = "none: single weights go",
       .compared = false,
       .in_manifest = true,
       .has_effect = chooses,
       .where = "runs without --replay, whose file says it",
       .get = [](const StructureRecipe& r) { return Json(name_of(structure_names, r.structure)); },
       .set =
           [](StructureRecipe& r, const Json& v) {
             r.structure =
                 parse_name<Structure>(structure_names, v.get<std::string>(), "structure");
           }},
      {.name = "ratio",
       .flag = "--ratio",
       .kind = Kind::number,
       .help = "of a structure: the share of its parts that goes, the same of every layer",
       .compared = false,
       .in_manifest = true,
       .has_effect = chooses,
       .where = "runs without --replay, whose file says what goes",
       .get = [](const StructureRecipe& r) { return Json(r.ratio); },
       .set = [](StructureRecipe& r, const Json& v) { r.ratio = v.get<double>(); }},
      {.name = "multiple",
       .flag = "--multiple",
       .kind = Kind::integer,
       .help = "of a structure: as many parts stay as are a multiple of N, at least what --ratio "
               "leaves (mlp: 64 suits most kernels)",
       .compared = false,
       .in_manifest = true,
       .has_effect =
           [](const StructureRecipe& r) { return chooses(r) && r.structure != Structure::blocks; },
       .where = "--structure mlp, heads, query-heads and experts",
       .get = [](const StructureRecipe& r) { return Json(r.multiple); },
       .set = [](StructureRecipe& r, const Json& v) { r.multiple = v.get<Index>(); }},
      {.name = "score",
       .flag = "--score",
       .kind = Kind::text,
       .help = "of a structure: " + list_of_scores(Structure::mlp) + "; of experts " +
               list_of_scores(Structure::experts) + "; of blocks " +
               list_of_scores(Structure::blocks),
       .default_note = "the first",
       .compared = false,
       .in_manifest = true,
       .has_effect = chooses,
       .where = "runs without --replay, whose file says what goes",
       .get =
           [](const StructureRecipe& r) {
             return r.score ? Json(name_of(structure_score_names, *r.score)) : Json();
           },
       .set =
           [](StructureRecipe& r, const Json& v) {
             r.score = parse_name<Score>(structure_score_names, v.get<std::string>(),
                                         "score of a structure");
           }},
      {.name = "update",
       .flag = "--update",
       .kind = Kind::text,
       .help = "of mlp and heads: " + list_of(structure_update_names) +
               " (refit: least squares in the layers that read what went)",
       .compared = false,
       .in_manifest = true,
       .has_effect = [](const StructureRecipe& r) { return r.removes_channels(); },
       .where = "--structure mlp, heads and query-heads",
       .get =
           [](const StructureRecipe& r) { return Json(name_of(structure_update_names, r.update)); },
       .set =
           [](StructureRecipe& r, const Json& v) {
             r.update = parse_name<StructureUpdate>(structure_update_names, v.get<std::string>(),
                                                    "update of a structure");
           }},
      damping_option<StructureRecipe>(
          "of refit: fraction of the mean Hessian diagonal", false,
          [](const StructureRecipe& r) { return r.update == StructureUpdate::refit; },
          "--update refit"),
      {.name = "replay",
       .flag = "--replay",
       .kind = Kind::text,
       .help = "take out what a FILE.json says, the pare_edits.json of another run, of a model of "
               "the same shape",
       .compared = false,
       .in_manifest = false,
       .has_effect = always,
       .get = [](const StructureRecipe& r) { return r.replay.empty() ? Json() : Json(r.replay); },
       .set = [](StructureRecipe& r, const Json& v) { r.replay = v.get<std::string>(); }},
      min_expert_tokens_option<StructureRecipe>(false, "what calibrates"),
  };
}

}  // namespace

template <>
std::span<const StepOption<StructureRecipe>> options_of<StructureRecipe>() {
  static const std::vector<StepOption<StructureRecipe>> options = describe();
  return options;
}

std::optional<StructureRecipe> parse_structure(const std::string& text) {
  const std::vector<std::string> words = comma_list(text, ':');
  if (std::find(structure_names.begin(), structure_names.end(), words[0]) == structure_names.end())
    return std::nullopt;
  return pare::with_context("--prune " + text, [&] {
    StructureRecipe recipe;
    recipe.structure = parse_name<Structure>(structure_names, words[0], "structure");
    std::size_t read = 0;
    if (words.size() > 1) try {
        recipe.ratio = std::stod(words[1], &read);
      } catch (const std::exception&) {
        read = 0;
      }
    if (read == 0 || read != words[1].size())
      throw pare::ArgumentError("it is STRUCTURE:RATIO, like mlp:0.5 or heads:0.25:flap:refit");
    for (std::size_t i = 2; i < words.size(); ++i)
      if (const auto update =
              std::find(structure_update_names.begin(), structure_update_names.end(), words[i]);
          update != structure_update_names.end())
        recipe.update = static_cast<StructureUpdate>(update - structure_update_names.begin());
      else
        recipe.score =
            parse_name<Score>(structure_score_names, words[i], "score or update of a structure");
    recipe.validate();
    if (!recipe.removes_channels() && recipe.update != StructureUpdate::none)
      throw pare::ArgumentError("updates are of mlp, heads and query-heads");
    return recipe;
  });
}

StructureScore StructureRecipe::own_score() const {
  return score.value_or(scores_of(structure).front());
}

bool StructureRecipe::scores_inputs() const {
  return replay.empty() && own_score() != Score::magnitude && own_score() != Score::taylor &&
         own_score() != Score::random;
}

bool StructureRecipe::scores_gradients() const {
  return replay.empty() && own_score() == Score::taylor;
}

std::string StructureRecipe::text() const {
  std::string all(name_of(structure_names, structure));
  if (replay.empty()) {
    char percent[32];
    std::snprintf(percent, sizeof percent, " %g %% by ", 100.0 * ratio);
    all += percent + std::string(name_of(structure_score_names, own_score()));
  } else {
    all += " of " + replay;
  }
  if (update != StructureUpdate::none)
    all += ", " + std::string(name_of(structure_update_names, update));
  return all;
}

void StructureRecipe::validate() const {
  if (!(ratio >= 0.0 && ratio < 1.0))
    throw pare::ArgumentError("--ratio " + std::to_string(ratio) +
                              " is outside [0, 1): 0.5 takes out half");
  if (multiple < 1)
    throw pare::ArgumentError("--multiple " + std::to_string(multiple) + " is not positive");
  require_shared_values(*this);
  const auto known = scores_of(structure);
  if (std::find(known.begin(), known.end(), own_score()) == known.end())
    throw pare::ArgumentError("--score " + std::string(name_of(structure_score_names, *score)) +
                              " is none of --structure " +
                              std::string(name_of(structure_names, structure)) + "; there are " +
                              list_of_scores(structure));
}

}  // namespace cli
