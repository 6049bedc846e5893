#pragma once

#include <algorithm>
#include <string>

#include "pare/distillation/feature_values.hpp"

/// Maps of convolutional networks, (batch, channels, height, width), as losses see them.
namespace pare::detail {

/// In double, positions in one axis: (batch, channels, positions).
template <class T>
[[nodiscard]] Tensor<double, 3> map_values(TensorView<const T, 4> maps, const char* who) {
  const Tensor<double, 4> values = feature_values(maps, who);
  Tensor<double, 3> flat({maps.extent(0), maps.extent(1), maps.extent(2) * maps.extent(3)});
  std::copy(values.begin(), values.end(), flat.begin());
  return flat;
}
template <class T>
void put_map_gradients(const Tensor<double, 3>& values, const LossOptions& options,
                       TensorView<T, 4> gradient) {
  if (gradient.data() == nullptr) return;
  Tensor<double, 4> maps(gradient.shape());
  std::copy(values.begin(), values.end(), maps.begin());
  put_gradients(maps, options, gradient);
}

/// Averages maps down to a grid whose cells are as large as they can be, as PyTorch's adaptive
/// average pooling: cell i of n is from floor(i size / n) to ceil((i + 1) size / n).
class GridPooling {
 public:
  GridPooling(Shape<2> from, Shape<2> to) : from_(from), to_(to) {
    if (to[0] > from[0] || to[1] > from[1] || to[0] < 1 || to[1] < 1)
      throw ShapeError("maps of " + to_string(from) + " cannot be averaged to " + to_string(to));
  }
  [[nodiscard]] Tensor<double, 3> operator()(const Tensor<double, 3>& maps) const {
    Tensor<double, 3> pooled({maps.extent(0), maps.extent(1), to_[0] * to_[1]});
    for_each_pair([&](Index large, Index small, double share) {
      for (Index b = 0; b < maps.extent(0); ++b)
        for (Index c = 0; c < maps.extent(1); ++c) pooled(b, c, small) += share * maps(b, c, large);
    });
    return pooled;
  }
  [[nodiscard]] Tensor<double, 3> pull_back(const Tensor<double, 3>& pooled) const {
    Tensor<double, 3> maps({pooled.extent(0), pooled.extent(1), from_[0] * from_[1]});
    for_each_pair([&](Index large, Index small, double share) {
      for (Index b = 0; b < maps.extent(0); ++b)
        for (Index c = 0; c < maps.extent(1); ++c) maps(b, c, large) += share * pooled(b, c, small);
    });
    return maps;
  }

 private:
  template <class Use>
  void for_each_pair(const Use& use) const {
    const auto begin = [&](Index i, std::size_t d) { return i * from_[d] / to_[d]; };
    const auto end = [&](Index i, std::size_t d) { return ceil_div((i + 1) * from_[d], to_[d]); };
    for (Index i = 0; i < to_[0]; ++i)
      for (Index j = 0; j < to_[1]; ++j) {
        const Index cells = (end(i, 0) - begin(i, 0)) * (end(j, 1) - begin(j, 1));
        for (Index y = begin(i, 0); y < end(i, 0); ++y)
          for (Index x = begin(j, 1); x < end(j, 1); ++x)
            use(y * from_[1] + x, i * to_[1] + j, 1.0 / static_cast<double>(cells));
      }
  }
  Shape<2> from_, to_;
};

/// Height and width.
template <class T>
[[nodiscard]] Shape<2> grid_of(const TensorView<T, 4>& maps) {
  return {maps.extent(2), maps.extent(3)};
}
/// The smaller of two grids.
[[nodiscard]] inline Shape<2> smaller_grid(Shape<2> a, Shape<2> b) {
  return {std::min(a[0], b[0]), std::min(a[1], b[1])};
}

}  // namespace pare::detail
