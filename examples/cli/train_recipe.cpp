#include "cli/train_recipe.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "pare/formats/any_quantized_matrix.hpp"
#include "training/objective.hpp"

namespace cli {
namespace {

using TrainJson = nlohmann::json;

template <class Member>
constexpr OptionKind train_kind_of() {
  if constexpr (std::is_same_v<Member, Index>) return OptionKind::integer;
  if constexpr (std::is_same_v<Member, bool>) return OptionKind::flag;
  if constexpr (std::is_same_v<Member, std::string>) return OptionKind::text;
  return OptionKind::number;
}

/// An option that is a member of the recipe.
template <auto Member>
StepOption<TrainRecipe> train_option(std::string_view name, std::string_view flag, std::string help,
                                     std::string_view default_note = {}) {
  using Value = std::remove_cvref_t<decltype(std::declval<TrainRecipe>().*Member)>;
  StepOption<TrainRecipe> option{};
  option.name = name;
  option.flag = flag;
  option.kind = train_kind_of<Value>();
  option.help = std::move(help);
  option.default_note = default_note;
  option.compared = false;
  option.in_manifest = true;
  option.has_effect = [](const TrainRecipe&) { return true; };
  option.get = [](const TrainRecipe& r) {
    if constexpr (std::is_same_v<Value, std::optional<double>>)
      return r.*Member ? TrainJson(*(r.*Member)) : TrainJson();
    else if constexpr (std::is_same_v<Value, std::string>)
      return (r.*Member).empty() ? TrainJson() : TrainJson(r.*Member);
    else
      return TrainJson(r.*Member);
  };
  option.set = [](TrainRecipe& r, const TrainJson& v) {
    if constexpr (std::is_same_v<Value, std::optional<double>>)
      r.*Member = v.get<double>();
    else
      r.*Member = v.get<Value>();
  };
  return option;
}

void require_positive(Index value, const char* flag) {
  if (value < 1)
    throw pare::ArgumentError(std::string(flag) + " " + std::to_string(value) + " is not positive");
}

void require_from_zero(double value, const char* flag) {
  if (!std::isfinite(value) || value < 0.0)
    throw pare::ArgumentError(std::string(flag) + " " + std::to_string(value) +
                              " is no number from 0");
}

}  // namespace

template <>
std::span<const StepOption<TrainRecipe>> options_of<TrainRecipe>() {
  using R = TrainRecipe;
  static const std::vector<StepOption<TrainRecipe>> options{
      train_option<&R::steps>("steps", "--steps", "steps of the optimizer"),
      train_option<&R::loss>(
          "loss", "--loss",
          "what is minimized: NAME[:WEIGHT][:T=TEMPERATURE], separated by commas, of ce (cross "
          "entropy), kd (KL to the teacher's logits), reverse-kd, logits, hidden (states between "
          "blocks), relations (of attention in the last blocks)",
          "kd with a teacher, else ce"),
      train_option<&R::optimizer>("optimizer", "--optimizer", "adamw or sgd"),
      train_option<&R::rate>("lr", "--lr", "the largest learning rate"),
      train_option<&R::warm_up>("warm_up", "--warm-up", "steps until it is reached"),
      train_option<&R::last_rate>("last_lr", "--last-lr",
                                  "the share of it that half a cosine ends at"),
      train_option<&R::batch>("batch", "--batch", "sequences at once"),
      train_option<&R::accumulate>("accumulate", "--accumulate",
                                   "batches whose gradients make a step"),
      train_option<&R::weight_decay>("weight_decay", "--weight-decay", "of weights of layers",
                                     "0.1, and 0 for quantized layers"),
      train_option<&R::clip>("clip", "--clip",
                             "the largest norm of the gradient of a step; 0 for none"),
      train_option<&R::seed>("seed", "--seed", "of the choice of sequences"),
      train_option<&R::train>("train", "--train",
                              "what learns: everything, layers (of the blocks) or norms",
                              "layers when they are quantized, else everything"),
      train_option<&R::quantize>(
          "quantize", "--quantize",
          "train layers whose weights are rounded, FORMAT:GROUP like uint3:64, and write the "
          "quantized model",
          "none, or as a quantized MODEL is stored"),
      train_option<&R::scale_rate>("scale_lr", "--scale-lr",
                                   "how fast the scales of quantized layers learn, as a share of "
                                   "--lr; 0 leaves them"),
      train_option<&R::keep_zeros>("keep_zeros", "--keep-zeros",
                                   "weights of layers that are zero stay zero: a pruned model "
                                   "keeps its pattern"),
      train_option<&R::masks>(
          "masks", "--masks",
          "remove weights of layers: those that are zero in a model DIR, or, more and more until "
          "three fifths of the steps, a share of each layer: cubic:0.7 the smallest, movement:0.7 "
          "those that do not move away from zero",
          "none"),
      train_option<&R::schedule>("schedule", "--schedule",
                                 "how the learning rate falls: cosine, linear or constant"),
      train_option<&R::top_k>("teacher_top_k", "--teacher-top-k",
                              "tokens of a teacher's answer that --teacher-cache keeps, the most "
                              "likely; the others are one",
                              "64, or none without a cache"),
      train_option<&R::average>("average", "--average",
                                "write a moving average of what is learned, with this momentum, "
                                "like 0.99; 0 for the last values"),
      train_option<&R::student>(
          "student", "--student",
          "train another model in the place of MODEL, which teaches it: half-depth (every second "
          "block), half-width (from new weights), or a DIR",
          "MODEL itself"),
      train_option<&R::recompute>("recompute", "--recompute",
                                  "compute blocks again on the way back: less memory, a third "
                                  "more time"),
  };
  return options;
}

std::optional<TrainRecipe::Quantized> TrainRecipe::quantized() const {
  if (quantize.empty()) return std::nullopt;
  const auto colon = quantize.find(':');
  Quantized found{quantize.substr(0, colon), -1};
  pare::with_format(found.format, []<class F>(pare::TypeTag<F>) {
    if (!F::is_integer)
      throw pare::ArgumentError("--quantize " + std::string(F::name) +
                                " cannot be trained; int2 to int8 and uint2 to uint8 can");
  });
  if (colon == std::string::npos) return found;
  const std::string group = quantize.substr(colon + 1);
  const auto [end, error] =
      std::from_chars(group.data(), group.data() + group.size(), found.group_size);
  if (error != std::errc() || end != group.data() + group.size() ||
      (found.group_size < 1 && found.group_size != -1))
    throw pare::ArgumentError("--quantize " + quantize +
                              " names no group size: FORMAT:64, or FORMAT for whole rows");
  return found;
}

std::optional<training::GradualPruning> TrainRecipe::gradual_pruning() const {
  using Score = training::GradualPruning::Score;
  const auto colon = masks.find(':');
  const std::string kind = masks.substr(0, colon);
  if (kind != "cubic" && kind != "movement") return std::nullopt;
  double share = -1.0;
  if (colon != std::string::npos) {
    const char* const begin = masks.data() + colon + 1;
    const char* const last = masks.data() + masks.size();
    const auto [end, error] = std::from_chars(begin, last, share);
    if (error != std::errc() || end != last) share = -1.0;
  }
  if (!(share > 0.0 && share < 1.0))
    throw pare::ArgumentError("--masks " + masks + " names no share between 0 and 1: " + kind +
                              ":0.7 removes 70 % of each layer");
  // What is left of the steps, others make up for what is gone.
  return training::GradualPruning{
      .score = kind == "cubic" ? Score::magnitude : Score::movement,
      .schedule = {.final = share,
                   .begin = std::min(warm_up, steps * 3 / 5),
                   .span = std::max<Index>(0, steps * 3 / 5 - warm_up)}};
}

void TrainRecipe::validate() const {
  require_positive(steps, "--steps");
  require_positive(batch, "--batch");
  require_positive(accumulate, "--accumulate");
  require_from_zero(static_cast<double>(warm_up), "--warm-up");
  require_from_zero(static_cast<double>(seed), "--seed");
  require_from_zero(static_cast<double>(top_k), "--teacher-top-k");
  require_from_zero(rate, "--lr");
  require_from_zero(last_rate, "--last-lr");
  require_from_zero(clip, "--clip");
  require_from_zero(scale_rate, "--scale-lr");
  if (weight_decay) require_from_zero(*weight_decay, "--weight-decay");
  if (optimizer != "adamw" && optimizer != "sgd")
    throw pare::ArgumentError("there is no optimizer \"" + optimizer +
                              "\"; there are adamw and sgd");
  if (!train.empty() && train != "everything" && train != "layers" && train != "norms")
    throw pare::ArgumentError("--train \"" + train + "\" is none of everything, layers, norms");
  if (schedule != "cosine" && schedule != "linear" && schedule != "constant")
    throw pare::ArgumentError("--schedule \"" + schedule +
                              "\" is none of cosine, linear, constant");
  if (!(average >= 0.0 && average < 1.0))
    throw pare::ArgumentError("--average " + std::to_string(average) +
                              " is no momentum from 0 to below 1");
  if (const auto gradual = gradual_pruning();
      gradual && gradual->score == training::GradualPruning::Score::movement && !quantize.empty())
    throw pare::ArgumentError(
        "--masks movement goes with float weights: quantize what was pruned with it");
  if (keep_zeros && !masks.empty())
    throw pare::ArgumentError("--keep-zeros keeps the model's own zeros: --masks says others");
  if (!loss.empty()) (void)training::parse_objective(loss);
  (void)quantized();
}

}  // namespace cli
