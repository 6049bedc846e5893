#pragma once

#include "pare/formats/type_list.hpp"
#include "pare/pruning/scores/fisher.hpp"
#include "pare/pruning/scores/grasp.hpp"
#include "pare/pruning/scores/lamp.hpp"
#include "pare/pruning/scores/magnitude.hpp"
#include "pare/pruning/scores/movement.hpp"
#include "pare/pruning/scores/obd.hpp"
#include "pare/pruning/scores/random.hpp"
#include "pare/pruning/scores/ria.hpp"
#include "pare/pruning/scores/snip.hpp"
#include "pare/pruning/scores/taylor.hpp"
#include "pare/pruning/scores/taylor_second.hpp"
#include "pare/pruning/scores/wanda.hpp"

namespace pare {

/// Every score of single weights: the only list of them. What asks for the whole network (SynFlow)
/// or scores something else (channels, heads, experts, blocks) is a function of its own.
using AllScores = TypeList<Magnitude, RandomScore, Lamp, Wanda, Ria, Snip, Grasp, Taylor,
                           TaylorSquared, TaylorSecond, TaylorMixed, Fisher, Obd, Movement>;

/// Calls `f(TypeTag<S>)` for the score called `name` ("magnitude", "wanda", ...) and returns its
/// result; S::Inputs says what it needs. Throws ArgumentError listing the names when there is none.
template <class Visitor>
decltype(auto) with_score(std::string_view name, Visitor&& f) {
  return with_named(AllScores{}, "score", name, f);
}

}  // namespace pare
