#pragma once

#include <string>
#include <utility>

#include "pare/distillation/regressor.hpp"

namespace pare {

/// Where a convolution looks.
struct ConvolutionShape {
  Shape<2> kernel{1, 1};  ///< height and width
  Index stride = 1;
  Index padding = 0;  ///< zeros at each side
};

struct ConvolutionHintOptions {
  ConvolutionShape convolution{};
  LossOptions common{};
};

namespace detail {

/// What each position of a convolution's output sees, as the row that its weight multiplies.
class MapPatches {
 public:
  MapPatches(Shape<4> maps, const ConvolutionShape& convolution)
      : maps_(maps), convolution_(convolution) {
    if (convolution.kernel[0] < 1 || convolution.kernel[1] < 1 || convolution.stride < 1 ||
        convolution.padding < 0)
      throw ArgumentError("there is no convolution of kernel " + to_string(convolution.kernel) +
                          ", stride " + std::to_string(convolution.stride) + " and padding " +
                          std::to_string(convolution.padding));
    for (std::size_t d = 0; d < 2; ++d) {
      const Index room = maps[2 + d] + 2 * convolution.padding - convolution.kernel[d];
      if (room < 0)
        throw ShapeError("a kernel of " + to_string(convolution.kernel) +
                         " is larger than the maps of " + to_string(maps));
      grid_[d] = room / convolution.stride + 1;
    }
  }
  /// Height and width of the output.
  [[nodiscard]] const Shape<2>& grid() const noexcept { return grid_; }
  /// Rows (batch, height, width of the output) of (channels, kernel height, kernel width).
  [[nodiscard]] Matrix<double> operator()(const Tensor<double, 4>& maps,
                                          const Execution& execution) const {
    Matrix<double> rows({maps_[0] * grid_[0] * grid_[1],
                         maps_[1] * convolution_.kernel[0] * convolution_.kernel[1]});
    for_each_pair(execution, [&](Index row, Index col, Index b, Index c, Index y, Index x) {
      rows(row, col) = maps(b, c, y, x);
    });
    return rows;
  }
  [[nodiscard]] Tensor<double, 4> pull_back(const Matrix<double>& rows,
                                            const Execution& execution) const {
    Tensor<double, 4> maps(maps_);
    for_each_pair(execution, [&](Index row, Index col, Index b, Index c, Index y, Index x) {
      maps(b, c, y, x) += rows(row, col);
    });
    return maps;
  }

 private:
  template <class Use>
  void for_each_pair(const Execution& execution, const Use& use) const {
    execution.parallel_for(maps_[0], [&](Index b) {
      Index row = b * grid_[0] * grid_[1];
      for (Index i = 0; i < grid_[0]; ++i)
        for (Index j = 0; j < grid_[1]; ++j, ++row) {
          Index col = 0;
          for (Index c = 0; c < maps_[1]; ++c)
            for (Index u = 0; u < convolution_.kernel[0]; ++u)
              for (Index v = 0; v < convolution_.kernel[1]; ++v, ++col) {
                const Index y = i * convolution_.stride + u - convolution_.padding;
                const Index x = j * convolution_.stride + v - convolution_.padding;
                if (y >= 0 && y < maps_[2] && x >= 0 && x < maps_[3]) use(row, col, b, c, y, x);
              }
        }
    });
  }
  Shape<4> maps_;
  ConvolutionShape convolution_;
  Shape<2> grid_{};
};

}  // namespace detail

/// Hints between maps: the mean squared difference between a convolution of the student's, with a
/// norm and ReLU after it where the regressor has them, and the teacher's.
///
/// Shapes    student (batch, channels, height, width), teacher (batch, out, the convolution's
///           height and width); the regressor's weight (out, channels * kernel height * kernel
///           width) is (out, channels, height, width) with its last axes as one. The regressor's
///           gradients are added
/// Values    the mean over elements
/// Errors    ShapeError, also where the convolution makes maps of another size; ArgumentError for a
///           convolution that there is none of; NumericError for what is not finite
/// Source    Romero et al., "FitNets", 2015; RepDistiller's ConvReg takes 3 x 3, stride 2 and
///           padding 1 for maps of twice the teacher's size, else a kernel of 1 + the difference.
///           Maps smaller than the teacher's are not made larger
template <class T = float>
double convolution_hint_loss(LossInput<T, 4> student, LossInput<T, 4> teacher,
                             const Regressor<T>& regressor,
                             const ConvolutionHintOptions& options = {},
                             LossGradient<T, 4> gradient = {},
                             const RegressorGradients<T>& regressor_gradients = {},
                             const Execution& execution = {}) {
  detail::require_same_batch(student.extent(0), teacher.extent(0));
  detail::require_gradient_shape(gradient, student.shape());
  detail::require_loss_weight(options.common.weight);
  const Tensor<double, 4> fs = detail::feature_values(student, "student");
  const Tensor<double, 4> ft = detail::feature_values(teacher, "teacher");
  const detail::MapPatches patches(student.shape(), options.convolution);
  if (patches.grid() != Shape<2>{teacher.extent(2), teacher.extent(3)})
    throw ShapeError("the convolution makes maps of " + to_string(patches.grid()) +
                     ", the teacher has " + to_string(teacher.shape()));
  // The teacher's positions as rows of channels: what a convolution of 1 x 1 sees.
  Matrix<double> dy = detail::MapPatches(teacher.shape(), {})(ft, execution);
  const Regression<T> regression(regressor, patches(fs, execution), execution);
  if (regression.values().shape() != dy.shape())
    throw ShapeError("the regressor makes " + std::to_string(regression.values().cols()) +
                     " channels, the teacher has " + std::to_string(dy.cols()));
  const auto count = static_cast<double>(dy.size());
  double loss = 0.0;
  for (Index i = 0; i < dy.size(); ++i) {
    const double difference = regression.values().data()[i] - dy.data()[i];
    loss += difference * difference / count;
    dy.data()[i] = 2.0 * difference / count;
  }
  const Matrix<double> dx =
      regression.pull_back(std::move(dy), options.common.weight, regressor_gradients, execution);
  detail::put_gradients(patches.pull_back(dx, execution), options.common, gradient);
  return options.common.weight * loss;
}

}  // namespace pare
