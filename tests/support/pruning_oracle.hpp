#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pare/formats/mask.hpp"
#include "pare/io/safetensors_reader.hpp"

namespace pare::test {

/// What other people's code answers: tests/data/pruning.safetensors.
class PruningOracle {
 public:
  /// Options and answers in numbers of a case.
  [[nodiscard]] nlohmann::json meta(const std::string& name) const {
    return nlohmann::json::parse(file_.metadata().at(name));
  }

  template <class T>
  [[nodiscard]] std::vector<T> values(const std::string& name) const {
    return file_.read_as<T>(name);
  }

  /// A tensor of any rank as a matrix: the first axis, and the others in one; of rank 1, a row.
  template <class T = float>
  [[nodiscard]] Matrix<T> matrix(const std::string& name) const {
    const std::vector<Index>& shape = file_.info(name).shape;
    const std::vector<T> elements = values<T>(name);
    const Index rows = shape.size() == 1 ? 1 : shape[0];
    Matrix<T> m({rows, rows == 0 ? 0 : static_cast<Index>(elements.size()) / rows});
    std::copy(elements.begin(), elements.end(), m.data());
    return m;
  }

  template <std::size_t Rank>
  [[nodiscard]] Tensor<float, Rank> tensor(const std::string& name) const {
    Shape<Rank> shape;
    std::copy_n(file_.info(name).shape.begin(), Rank, shape.begin());
    Tensor<float, Rank> t(shape);
    const std::vector<float> elements = values<float>(name);
    std::copy(elements.begin(), elements.end(), t.data());
    return t;
  }

  [[nodiscard]] Mask mask(const std::string& name) const {
    return nonzero_mask(matrix<std::uint8_t>(name));
  }

  /// The tensors NAME0, NAME1, ... of the layers of a network.
  template <class T = float>
  [[nodiscard]] std::vector<Matrix<T>> matrices(const std::string& name, int layers,
                                                const std::string& suffix = "") const {
    std::vector<Matrix<T>> all;
    for (int l = 0; l < layers; ++l) all.push_back(matrix<T>(name + std::to_string(l) + suffix));
    return all;
  }
  [[nodiscard]] std::vector<Mask> masks(const std::string& name, int layers) const {
    std::vector<Mask> all;
    for (int l = 0; l < layers; ++l) all.push_back(mask(name + std::to_string(l)));
    return all;
  }

 private:
  SafetensorsReader file_ =
      SafetensorsReader::open(std::string(PARE_TEST_DATA_DIR) + "/pruning.safetensors");
};

/// Removes the lowest scores of all matrices together, of equal ones the first.
template <class T>
[[nodiscard]] std::vector<Mask> lowest_removed(const std::vector<Matrix<T>>& scores,
                                               Index removed) {
  std::vector<std::pair<std::size_t, Index>> order;
  std::vector<Mask> masks;
  for (std::size_t l = 0; l < scores.size(); ++l) {
    masks.emplace_back(scores[l].rows(), scores[l].cols());
    for (Index k = 0; k < scores[l].size(); ++k) order.emplace_back(l, k);
  }
  std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    return scores[a.first].data()[a.second] < scores[b.first].data()[b.second];
  });
  for (Index k = 0; k < removed; ++k) {
    const auto [l, position] = order[static_cast<std::size_t>(k)];
    masks[l].set(position / scores[l].cols(), position % scores[l].cols(), false);
  }
  return masks;
}

/// The same within each run of `group` neighbours of a row; of equal ones the first stay if
/// `first_stay`, as is the rule of N:M.
[[nodiscard]] inline Mask lowest_removed_of_groups(const Matrix<float>& scores, Index group,
                                                   Index removed, bool first_stay = false) {
  Mask mask(scores.rows(), scores.cols());
  for (Index i = 0; i < scores.rows(); ++i)
    for (Index begin = 0; begin < scores.cols(); begin += group) {
      std::vector<Index> order;
      for (Index j = begin; j < begin + group; ++j) order.push_back(j);
      if (first_stay) std::reverse(order.begin(), order.end());
      std::stable_sort(order.begin(), order.end(),
                       [&](Index a, Index b) { return scores(i, a) < scores(i, b); });
      for (Index k = 0; k < removed; ++k) mask.set(i, order[static_cast<std::size_t>(k)], false);
    }
  return mask;
}

/// Views of matrices, for functions of several layers.
template <class T>
[[nodiscard]] std::vector<MatrixView<const T>> views_of(const std::vector<Matrix<T>>& matrices) {
  return {matrices.begin(), matrices.end()};
}

}  // namespace pare::test
