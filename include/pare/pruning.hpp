#pragma once

#include "pare/pruning/score.hpp"
#include "pare/pruning/scores/magnitude.hpp"
#include "pare/pruning/structure/axis_scores.hpp"
#include "pare/pruning/structure/couplings.hpp"
#include "pare/pruning/structure/dependency_graph.hpp"
#include "pare/pruning/structure/group_scores.hpp"
#include "pare/pruning/structure/select_channels.hpp"
#include "pare/pruning/structure/take.hpp"
