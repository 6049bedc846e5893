#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "pare/core/error.hpp"
#include "pare/core/index.hpp"

/// Which layer of a teacher each layer of a student is matched with, or begins as: numbers from 0.
namespace pare {

namespace detail {

inline void require_layers(Index student, Index teacher) {
  if (student < 1 || teacher < student)
    throw ArgumentError(std::to_string(student) + " layers cannot be mapped to " +
                        std::to_string(teacher));
}

}  // namespace detail

/// The last of each group of teacher / student layers: 12 to 4 is 2, 5, 8, 11 (TinyBERT's
/// attention). Throws ArgumentError unless the numbers divide.
[[nodiscard]] inline std::vector<Index> last_of_group_map(Index student, Index teacher) {
  detail::require_layers(student, teacher);
  if (teacher % student != 0)
    throw ArgumentError(std::to_string(teacher) + " layers are no multiple of " +
                        std::to_string(student));
  std::vector<Index> map;
  for (Index i = 0; i < student; ++i) map.push_back((i + 1) * (teacher / student) - 1);
  return map;
}

/// Of the states between layers, the embeddings first: 12 to 4 layers is 0, 3, 6, 9, 12.
[[nodiscard]] inline std::vector<Index> hidden_state_map(Index student, Index teacher) {
  std::vector<Index> map{0};
  for (const Index last : last_of_group_map(student, teacher)) map.push_back(last + 1);
  return map;
}

/// Evenly from the first layer to the last: 12 to 4 is 0, 4, 7, 11.
[[nodiscard]] inline std::vector<Index> uniform_layer_map(Index student, Index teacher) {
  detail::require_layers(student, teacher);
  std::vector<Index> map;
  for (Index i = 0; i < student; ++i)
    map.push_back(student == 1
                      ? teacher - 1
                      : static_cast<Index>(std::nearbyint(static_cast<double>(i * (teacher - 1)) /
                                                          static_cast<double>(student - 1))));
  return map;
}

/// The first of each group: 12 to 6 is 0, 2, 4, 6, 8, 10 (DistilBERT's beginning).
[[nodiscard]] inline std::vector<Index> first_of_group_map(Index student, Index teacher) {
  std::vector<Index> map = last_of_group_map(student, teacher);
  for (Index& layer : map) layer -= teacher / student - 1;
  return map;
}

/// Layers that PKD gives hints from, for all but the student's last: every (teacher / student)-th.
[[nodiscard]] inline std::vector<Index> pkd_skip_map(Index student, Index teacher) {
  std::vector<Index> map = last_of_group_map(student, teacher);
  map.pop_back();
  return map;
}

/// The same from the last ones before the teacher's last.
[[nodiscard]] inline std::vector<Index> pkd_last_map(Index student, Index teacher) {
  detail::require_layers(student, teacher);
  std::vector<Index> map;
  for (Index i = 0; i + 1 < student; ++i) map.push_back(teacher - student + i);
  return map;
}

}  // namespace pare
